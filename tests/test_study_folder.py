"""Where the files of a study lie: their names are a format that users rely on, and no code writes one a second time."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnbench.study import ReportFolder, StorageFolder, StudyFolder

PACKAGE = Path(__file__).parents[1] / "platform" / "cnnbench"

# Stated here once more: whoever changes one of these changes what users' scripts read.
NAMES = {
    StudyFolder: {
        "ledger": "ledger.jsonl", "study_json": "study.json", "precision": "precision.json",
        "prediction": "prediction.json", "frozen": "frozen.json", "verdict": "verdict.json", "lock": ".lock",
        "optuna_journal": "optuna.journal", "ray_log": "ray.log", "ray_tune": "tune", "ray_train": "train",
        "spool": "tracking.spool.jsonl", "cursor": "tracking.cursor.json", "mlflow_runs": "tracking.runs.jsonl",
        "checkpoints": "checkpoints", "readme": "README", "ledger_copy": "ledger", "nodes": "nodes",
    },
    StorageFolder: {"mlflow_database": "mlflow.db", "mlflow_artifacts": "mlartifacts"},
    ReportFolder: {
        "page": "index.html", "leaderboard_csv": "leaderboard.csv", "leaderboard_json": "leaderboard.json",
        "effects_csv": "effects.csv", "joint_csv": "joint.csv", "joint_json": "joint.json",
    },
}  # fmt: skip
FOLDER = StudyFolder(Path("results/digits"), "s3://bucket/prefix?region=x")


def _names(kind: type) -> dict[str, str]:
    """What the properties of such a folder name, by the properties' names."""
    read = {name: getattr(kind(Path("x")), name) for name, of in vars(kind).items() if isinstance(of, property)}
    return {name: str(path.relative_to("x")) for name, path in read.items() if isinstance(path, Path)}


@pytest.mark.parametrize("kind", NAMES)
def test_the_names_of_files_do_not_change(kind: type) -> None:
    assert _names(kind) == NAMES[kind]


def test_a_trials_checkpoint_and_a_records_copy_are_named_after_them(tmp_path: Path) -> None:
    assert FOLDER.checkpoint("lenet5-000") == Path("results/digits/checkpoints/lenet5-000.ckpt")
    assert FOLDER.record_copy(7) == Path("results/digits/ledger/000007.json")
    assert FOLDER.storage.reproduction("lenet5", "a1b2") == Path("results/reproductions/lenet5-a1b2")
    there = StudyFolder(tmp_path)
    assert there.checkpointed() == set()
    there.checkpoints.mkdir()
    for name in ("a-000.ckpt", "a-000.ckpt.previous", "b-final-1.ckpt", "c.ckpt.damaged"):
        (there.checkpoints / name).touch()
    assert there.checkpointed() == {"a-000", "b-final-1"}


def test_what_nodes_share_lies_below_the_shared_storage() -> None:
    assert FOLDER.shared(FOLDER.path) == "s3://bucket/prefix/digits?region=x"
    assert FOLDER.shared(FOLDER.checkpoint("a-0")) == "s3://bucket/prefix/digits/checkpoints/a-0.ckpt?region=x"
    own = StudyFolder(Path("results/digits"))
    assert own.shared(own.ray_train) == str(Path.cwd() / "results/digits/train")


# ---------------------------------------------------------------- written once


def _written(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of what code says: without docstrings, the command line's help, and names of page templates."""
    tree = ast.parse(source)
    prose: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            prose.add(node.value)
        if isinstance(node, ast.keyword) and node.arg == "help":
            prose.add(node.value)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("get_template"):
            prose.update(node.args)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in prose:
            yield node.lineno, node.value


def _joined(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of what code appends to a folder with ``/``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and isinstance(node.right, ast.Constant):
            yield node.lineno, str(node.right.value)


def repeated(source: str) -> list[str]:
    """The names of a study's files that the source writes. A name with no ending may be any word: it is one of a file
    where it is joined to a folder."""
    names = {name for kind in NAMES for name in _names(kind).values()}
    ended = "|".join(re.escape(name) for name in sorted(names) if "." in name)
    endings = re.escape(FOLDER.checkpoint("").name)
    whole = re.compile(rf"(?<![\w.-])({ended})(?![\w-])|{endings}\b")
    found = [f"line {line}: {text!r}" for line, text in _written(source) if whole.search(text)]
    return found + [f"line {line}: {text!r}" for line, text in _joined(source) if text.split("/")[0] in names]


def test_no_code_writes_the_name_of_a_studys_file_again() -> None:
    own = PACKAGE / "study" / "folder.py"
    assert Path(inspect.getfile(StudyFolder)) == own and len(repeated(own.read_text())) >= len(NAMES[StudyFolder])
    data = PACKAGE / "data"  # has "train/"
    files = [file for file in PACKAGE.rglob("*.py") if file != own and data not in file.parents]
    found = [f"{file.relative_to(PACKAGE)}, {text}" for file in sorted(files) for text in repeated(file.read_text())]
    assert not found, "\n".join(["ask StudyFolder, StorageFolder or ReportFolder:", *found])


@pytest.mark.parametrize(
    "source",
    [
        "path = folder / 'ledger.jsonl'",
        "path = folder / 'tune'",
        "path = folder / 'checkpoints/x'",
        "path = f'{folder}/study.json'",
        "place = f'checkpoints/{trial}.ckpt'",
        "raise ValueError('give a folder with study.json and ledger.jsonl')",
        "name = '.lock'",
    ],
)
def test_a_repeated_name_is_found(source: str) -> None:
    assert repeated(source)


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    '''Writes study.json.'''",
        "option = Option(help='A folder with study.json.')",
        "page = environment.get_template('index.html')",
        "split = read('train')",
        "lock = root / '.download.lock'",
        "name = 'restudy.json'",
    ],
)
def test_other_words_are_let_through(source: str) -> None:
    assert not repeated(source)
