"""The page's own script: the files of ``assets`` that end in .js, joined; and the hash that lets it run."""

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

# In this order: what a file needs as it begins, a file before it has made.
_FILES = (
    "study",
    "sort",
    "filter",
    "columns",
    "compare",
    "rows",
    "download",
    "export",
    "state",
    "charts",
    "pictures",
    "main",
)


def asset(name: str) -> str:
    """The text of a file in ``assets``."""
    return resources.files("cnnbench.report").joinpath("assets", name).read_text(encoding="utf-8")


def script() -> str:
    """The script, in one piece and in a scope of its own."""
    return _joined(_FILES)


def joint_script() -> str:
    """The script of a page of several studies, which shows one of them with ``script``."""
    return _joined(("download", "pictures", "joint"))


def _joined(names: Sequence[str]) -> str:
    return "(() => {\n" + "\n".join(asset(f"{name}.js") for name in names) + "})();\n"


def script_hash(script: str) -> str:
    """The Content-Security-Policy source that allows this script and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
