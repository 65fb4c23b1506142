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

# A part is a module or a folder of modules directly below cnnbench. Which other parts it may import; a part that is
# not named here may not exist. "*": any.
MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),
    "registry": set(),
    "document": set(),
    "space": set(),
    "uri": set(),
    "origin": set(),
    "study": {"document", "space", "uri"},
    "ledger": set(),
    "row_id": {"ledger"},
    "spool": set(),
    "statistics": set(),
    "progress": {"ledger"},
    "architectures": {"registry"},
    "components": {"registry"},
    "network": {"registry", "architectures", "components"},
    "cost": {"registry", "components", "network"},
    "receptive_field": {"components"},
    "description": {"components", "cost", "receptive_field"},
    "data": {"registry"},
    "precision": set(),
    "ranks": set(),
    "evaluation": {"registry", "data", "network", "cost", "precision", "ranks"},
    "training": {"registry", "data", "evaluation", "precision", "ranks"},
    "catalogue": {"study", "architectures", "components", "data", "training"},
    "models": {"architectures", "catalogue", "components", "cost", "description", "document", "network"},
    "model_tables": set(),
    "shipping": {"spool", "uri"},
    "tracking": {"ledger", "shipping", "spool", "uri"},
    "tracked": {"shipping", "tracking", "uri"},
    "reporting": {"report", "study", "tracked", "tracking"},
    "report": {"ledger", "row_id", "study", "statistics"},
    "distributed": {
        *("registry", "study", "ledger", "statistics", "progress", "architectures", "components", "network", "cost"),
        *("data", "training", "evaluation", "catalogue", "tracking", "spool", "document", "space"),
        *("precision", "ranks", "row_id", "uri", "origin"),
    },
    "terminal": {"report"},
    "running": {
        *("study", "ledger", "uri", "progress", "terminal", "report", "reporting", "tracking", "training"),
        "distributed",
    },
    "cluster_check": set(),
    "doctor": {"data"},
    "cli": {"*"},
    "__main__": {"cli"},
}

# Where a framework may be imported, lazily or not.
ONLY_IN = {"ray": {"distributed"}, "optuna": {"distributed", "report"}, "mlflow": {"shipping", "tracked"}}

# These run on a bare PyTorch machine: at the top of a file they import the standard library and this alone.
BARE = {"registry", "architectures", "components", "network", "cost", "data", "training", "evaluation"}
BARE |= {"description", "receptive_field", "precision", "ranks"}
ON_A_BARE_MACHINE = {"torch", "torchvision", "numpy", "PIL"}  # torchvision needs the last two
NEVER_ON_A_BARE_MACHINE = {"pydantic", "rich", "typer", "yaml", "pandas", "plotly", "jinja2"}

# These start fast and work on a laptop without torch.
WITHOUT_TORCH = {"registry", "document", "space", "study", "ledger", "spool", "statistics", "progress"}
WITHOUT_TORCH |= {"shipping", "tracking", "report", "row_id", "cluster_check", "uri", "origin"}


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
            allowed = MAY_IMPORT[part] | {part, "*"} if "*" in MAY_IMPORT[part] else MAY_IMPORT[part] | {part}
            # cnnbench itself holds its version and nothing else
            wrong = other not in {"", "__version__"} and "*" not in allowed and other not in allowed
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


def test_no_part_imports_what_it_may_not() -> None:
    broken = []
    for file in _files():
        path = file.relative_to(SOURCE)
        package = ".".join(path.parent.parts)
        part = path.parts[1].removesuffix(".py")
        if part not in MAY_IMPORT:
            broken.append(f"{path}: part {part!r} has no rule in MAY_IMPORT")
            continue
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
        ("cli", "import ray"),
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
        ("cli", "def run():\n    from cnnbench.distributed import search"),
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


def test_platform_is_the_standard_librarys() -> None:
    assert not (SOURCE / "__init__.py").exists()
    assert _python("import platform; print(platform.machine())") == os.uname().machine


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("cnnbench.cli", "torch ray mlflow optuna pandas"),  # else --help is slow
        ("cnnbench.report.*", "torch ray mlflow"),
        ("cnnbench.cluster_check.*", "torch ray mlflow jsonschema"),
        ("cnnbench.tracking", "torch ray mlflow"),  # MLflow is imported by the process that ships
        ("cnnbench.training.* cnnbench.data.* cnnbench.network cnnbench.cost", "ray mlflow optuna pydantic"),
    ],
)
def test_importing_does_not_drag_in(modules: str, absent: str) -> None:
    names = []
    for name in modules.split():
        place = PACKAGE.joinpath(*name.removesuffix(".*").split(".")[1:])
        if name.endswith(".*"):
            names += [f"{name[:-2]}.{file.stem}" for file in place.glob("*.py") if file.stem != "__init__"]
        elif place.with_suffix(".py").exists():
            names.append(name)
    loaded = _python(f"import sys, {', '.join(names)}; print(*sys.modules)") if names else ""
    assert not set(absent.split()) & set(loaded.split())


def test_help_says_its_verbs_and_exits_with_zero() -> None:
    code = "import runpy, sys; sys.argv = ['cnnbench', '--help']; runpy.run_module('cnnbench', run_name='__main__')"
    assert "run" in _python(code)
