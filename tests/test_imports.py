"""Who may import whom: the walls between cnnbench's parts, read from the source's own import statements."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "platform"
PACKAGE = SOURCE / "cnnbench"

# A part is a module or a room, a folder of modules, directly below cnnbench. They stand from the bottom up: each may
# import what its line names, and that stands above it, so there is no circle. What is not named here may not exist.
MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),
    "errors": set(),
    "nearest": set(),
    "registry": {"errors", "nearest"},
    "uri": set(),
    "origin": set(),
    "whole_file": {"errors"},
    "precision": set(),
    "ranks": set(),
    "ledger": {"errors", "whole_file"},
    "row_id": {"ledger"},
    "statistics": set(),
    "cluster_check": {"errors"},
    "storage": {"errors", "uri"},
    "study": {"errors", "nearest", "uri"},
    "architectures": {"errors", "registry"},
    "components": {"errors", "nearest", "registry"},
    "data": {"errors", "registry"},
    "networks": {"errors", "registry", "architectures", "components"},
    "evaluation": {"data", "precision", "ranks"},
    "training": {"errors", "whole_file", "precision", "ranks", "data", "evaluation"},
    "vocabulary": {"study", "architectures", "components", "data", "training"},
    "trial": {
        *("uri", "origin", "whole_file", "precision", "ranks", "ledger", "storage", "study"),
        *("data", "networks", "evaluation", "training"),
    },
    "search": {"uri", "ledger", "study", "components", "data", "training", "vocabulary", "trial"},
    "protocol": {
        *("nearest", "whole_file", "precision", "ledger", "row_id", "statistics", "storage", "study", "vocabulary"),
        *("architectures", "components", "networks", "evaluation", "training", "trial", "search"),
    },
    "tracking": {"errors", "nearest", "uri", "ledger", "study", "trial"},
    "distributed": {"errors", "ranks", "storage", "study", "trial", "protocol"},
    "workflows": {
        *("uri", "whole_file", "ledger", "study", "vocabulary", "trial", "search", "protocol", "tracking"),
        "distributed",
    },
    "report": {"errors", "ledger", "row_id", "statistics", "study"},
    "commands": {
        *("errors", "nearest", "registry", "uri", "whole_file", "ledger", "cluster_check", "storage", "study"),
        "vocabulary",
        *("architectures", "components", "data", "networks", "protocol", "tracking", "workflows", "report"),
    },
    "__main__": {"commands"},
}

# Where a framework may be imported, lazily or not.
ONLY_IN = {"ray": {"distributed"}, "optuna": {"report", "search"}, "mlflow": {"tracking"}}

# The modules and rooms of the report, from the bottom up: each may import what its line names, and that stands above
# it. So there is no circle, and none imports the report's own front door, cnnbench.report, whose line is the last.
IN_THE_REPORT: dict[str, set[str]] = {
    "formats": set(),
    "files": set(),
    "script": set(),
    "source": {"formats"},
    "table": {"formats"},
    "figures": {"formats", "table"},
    "effects": {"formats", "table", "figures"},
    "page": {"formats", "files", "script", "source", "table", "figures", "effects"},
    "several": {"formats", "files", "script", "source", "table", "figures", "page"},
    "terminal_tables": {"formats", "table", "effects", "page"},
    "__init__": {"table", "page", "terminal_tables"},
}

# These run on a bare PyTorch machine: at the top of a file they import the standard library and this alone.
BARE = {"errors", "nearest", "registry", "whole_file", "precision", "ranks"}
BARE |= {"architectures", "components", "networks", "data", "evaluation", "training"}
ON_A_BARE_MACHINE = {"torch", "torchvision", "numpy", "PIL"}  # torchvision needs the last two
NEVER_ON_A_BARE_MACHINE = {"pydantic", "rich", "typer", "yaml", "pandas", "plotly", "jinja2"}

# These start fast and work on a laptop without torch.
WITHOUT_TORCH = {"errors", "registry", "uri", "whole_file", "ledger", "row_id", "statistics", "cluster_check", "study"}
WITHOUT_TORCH |= {"tracking", "report", "origin", "nearest"}


@dataclass(frozen=True)
class Import:
    """One imported module, such as ``cnnbench.registry`` or ``torch.nn``, and where."""

    module: str
    line: int
    lazy: bool  # inside a function


def imports_of(source: str, package: str) -> Iterator[Import]:
    """Every import in a module of ``package``: statements anywhere in it, and ``import_module`` of a literal."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        for module in _modules(node, package):
            yield Import(module, node.lineno, id(node) in inside)  # type: ignore[attr-defined]


def _modules(node: ast.AST, package: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [name.name for name in node.names]
    if isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        # `from cnnbench import ledger` imports cnnbench.ledger
        return [f"{base}.{name.name}" for name in node.names] if base == "cnnbench" else [base]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
        return [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    return []


def violations(part: str, imports: Iterator[Import]) -> list[str]:
    """The broken rules, each as ``line N: …``."""
    broken = []
    for entry in imports:
        top, _, rest = entry.module.partition(".")
        other = rest.partition(".")[0]
        if top == "cnnbench":
            # cnnbench itself holds its version and nothing else
            wrong = other not in {"", "__version__"} and other not in MAY_IMPORT[part] | {part}
        else:
            bare = part in BARE and top not in sys.stdlib_module_names
            wrong = (
                part not in ONLY_IN.get(top, {part})
                or (bare and top in NEVER_ON_A_BARE_MACHINE)
                or (bare and not entry.lazy and top not in ON_A_BARE_MACHINE)
                or (part in WITHOUT_TORCH and top in {"torch", "torchvision"})
            )
        if wrong:
            broken.append(f"line {entry.line}: {part} may not import {entry.module}")
    return broken


def _files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_every_part_has_a_rule_and_imports_no_part_of_a_later_line() -> None:
    assert {file.relative_to(PACKAGE).parts[0].removesuffix(".py") for file in _files()} == set(MAY_IMPORT)
    order = list(MAY_IMPORT)
    assert all(allowed <= set(order[: order.index(part)]) for part, allowed in MAY_IMPORT.items())


@pytest.mark.parametrize("part", ["protocol", "search", "trial", "training", "networks", "report", "commands"])
def test_only_distributed_knows_ray_and_only_workflows_know_distributed(part: str) -> None:
    assert ONLY_IN["ray"] == {"distributed"}
    assert {name for name, allowed in MAY_IMPORT.items() if "distributed" in allowed} == {"workflows"}
    for source in ("def late():\n    import ray", "def late():\n    from cnnbench.distributed import session"):
        assert violations(part, imports_of(source, f"cnnbench.{part}"))


def test_no_part_imports_what_it_may_not() -> None:
    broken = []
    for file in _files():
        path = file.relative_to(SOURCE)
        package = ".".join(path.parent.parts)
        part = path.parts[1].removesuffix(".py")
        broken += [f"{path}, {text}" for text in violations(part, imports_of(file.read_text(), package))]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("ledger", "from cnnbench.registry import Registry"),
        ("ledger", "from cnnbench import registry"),
        ("architectures", "from ..components import swap"),
        ("architectures", "def build():\n    import cnnbench.components.swap"),
        ("training", "def train():\n    from ray import train"),
        ("training", "import importlib\nimportlib.import_module('mlflow')"),
        ("data", "from pydantic import BaseModel"),
        ("data", "import pyarrow.parquet"),
        ("report", "import torch.nn"),
        ("commands", "import ray"),
    ],
)
def test_a_forbidden_import_is_found(part: str, source: str) -> None:
    assert violations(part, imports_of(source, f"cnnbench.{part}"))


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("architectures", "from ..registry import Registry\nfrom .lenet import LeNet5"),
        ("data", "def read():\n    import pyarrow.parquet"),
        ("report", "def importance():\n    import optuna"),
        ("commands", "def run():\n    from cnnbench.workflows import study"),
        ("tracking", "from cnnbench import __version__"),
    ],
)
def test_an_allowed_import_is_let_through(part: str, source: str) -> None:
    assert violations(part, imports_of(source, f"cnnbench.{part}")) == []


def _python(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=SOURCE.parent, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def wrong_in_the_report(part: str, imports: Iterator[Import]) -> list[str]:
    """The imports of a part of the report that break its rule, each as ``line N: …``."""
    broken = []
    for entry in imports:
        if entry.module == "cnnbench.report" or entry.module.startswith("cnnbench.report."):
            other = entry.module.removeprefix("cnnbench.report").lstrip(".").partition(".")[0]
            if other not in IN_THE_REPORT[part] | {part}:
                broken.append(f"line {entry.line}: report/{part} may not import {entry.module}")
    return broken


def _files_of_the_report() -> list[Path]:
    return sorted((PACKAGE / "report").rglob("*.py"))


def test_every_part_of_the_report_has_a_rule_and_imports_no_part_of_a_later_line() -> None:
    parts = {file.relative_to(PACKAGE / "report").parts[0].removesuffix(".py") for file in _files_of_the_report()}
    assert parts == set(IN_THE_REPORT)
    order = list(IN_THE_REPORT)
    assert all(allowed <= set(order[: order.index(part)]) for part, allowed in IN_THE_REPORT.items())


def test_no_part_of_the_report_imports_what_it_may_not() -> None:
    broken = []
    for file in _files_of_the_report():
        path = file.relative_to(SOURCE)
        part = path.parts[2].removesuffix(".py")
        imports = imports_of(file.read_text(), ".".join(path.parent.parts))
        broken += [f"{path}, {text}" for text in wrong_in_the_report(part, imports)]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("source", "forbidden"),
    [
        ("from cnnbench.report.page.details import Details", True),
        ("from ..page import details", True),
        ("from cnnbench.report import page", True),
        ("def late():\n    from cnnbench import report", True),
        ("from . import columns\nfrom ..formats import points\nfrom cnnbench.ledger import Ledger", False),
    ],
)
def test_a_forbidden_import_in_the_report_is_found(source: str, forbidden: bool) -> None:
    assert bool(wrong_in_the_report("table", imports_of(source, "cnnbench.report.table"))) is forbidden


def test_platform_is_the_standard_librarys() -> None:
    assert not (SOURCE / "__init__.py").exists()
    assert _python("import platform; print(platform.machine())") == os.uname().machine


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("cnnbench.commands.cli", "torch ray mlflow optuna pandas"),  # else --help is slow
        ("cnnbench.report.*", "torch ray mlflow"),
        ("cnnbench.cluster_check.*", "torch ray mlflow jsonschema"),
        ("cnnbench.tracking.tracker", "torch ray mlflow"),  # MLflow is imported by the process that ships
        (
            "cnnbench.training.* cnnbench.data.* cnnbench.data.readers.* "
            "cnnbench.networks.build cnnbench.networks.cost",
            "ray mlflow optuna pydantic",
        ),
    ],
)
def test_importing_does_not_drag_in(modules: str, absent: str) -> None:
    names = []
    for name in modules.split():
        place = PACKAGE.joinpath(*name.removesuffix(".*").split(".")[1:])
        if name.endswith(".*"):
            files = [file.relative_to(SOURCE) for file in place.rglob("*.py") if file.stem != "__init__"]
            names += [".".join(file.with_suffix("").parts) for file in files]
        elif place.with_suffix(".py").exists():
            names.append(name)
    loaded = _python(f"import sys, {', '.join(names)}; print(*sys.modules)") if names else ""
    assert not set(absent.split()) & set(loaded.split())


def test_help_says_its_verbs_and_exits_with_zero() -> None:
    code = "import runpy, sys; sys.argv = ['cnnbench', '--help']; runpy.run_module('cnnbench', run_name='__main__')"
    assert "run" in _python(code)
