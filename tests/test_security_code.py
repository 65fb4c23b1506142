"""What the source never does: unpickle, run texts, load YAML unsafely, restore Tune's state; and it really doesn't."""

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnbench.study import StudyError, load
from cnnbench.study.document import DocumentError, read_yaml
from cnnbench.tracking.tracker import ENVIRONMENT
from cnnbench.vocabulary import vocabulary

SOURCE = Path(__file__).parents[1] / "platform" / "cnnbench"
NEVER_IMPORTED = {"pickle", "cloudpickle", "dill", "shelve", "marshal", "joblib"}
NEVER_CALLED = {
    "eval", "exec", "os.system", "os.popen", "torch.hub.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all",
    "np.load", "numpy.load", "pd.read_pickle", "pandas.read_pickle", "tune.Tuner.restore", "Tuner.restore",
}  # fmt: skip


def faults(source: str) -> Iterator[str]:
    """What must not stand in a module, each with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"{node.lineno}: import {name}" for name in names if name.split(".")[0] in NEVER_IMPORTED)
        if not isinstance(node, ast.Call):
            continue
        called, given = ast.unparse(node.func), {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if called in NEVER_CALLED or called.rpartition(".")[2] in {"extractall", "restore_from", "unsafe_load"}:
            yield f"{node.lineno}: {called}"
        if called == "torch.load" and given.get("weights_only") != "True":
            yield f"{node.lineno}: torch.load without weights_only=True"
        if called == "yaml.load" and not given.get("Loader", "").startswith("_Loader"):
            yield f"{node.lineno}: yaml.load with another loader than document.py's"
        if given.get("shell", "False") != "False":
            yield f"{node.lineno}: {called} with a shell"
        if called in {"tune.run", "ray.tune.run"} and {"resume", "restore"} & given.keys():
            yield f"{node.lineno}: {called} reads Tune's state, which is a pickle"


def test_no_module_reads_pickles_runs_texts_or_restores_tunes_state():
    found = [
        f"{file.relative_to(SOURCE)}, {fault}" for file in SOURCE.rglob("*.py") for fault in faults(file.read_text())
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from cloudpickle import loads", "torch.load(path)", "torch.load(path, weights_only=False)",
        "yaml.load(text, Loader=yaml.Loader)", "subprocess.run(text, shell=True)", "tar.extractall(folder)",
        "tune.run(f, resume=True)", "Tuner.restore(path, f)", "eval(text)", "pd.read_pickle(path)",
    ],
)  # fmt: skip
def test_what_must_not_stand_in_a_module_is_found(source):
    assert list(faults(source))


@pytest.mark.parametrize("name", ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"])
def test_mlflow_in_our_processes_unpickles_nothing(name):
    assert ENVIRONMENT[name] == "false"  # which cnnbench ui hands to the server, and Tracker to the process that ships


BOMB = "a: &a [x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}]\n" for old, new in itertools.pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "line 2, column 8: aliases are not allowed"),
        ("[" * 100_000, "nested deeper than 20"),
        ("{a: " * 100_000, "nested deeper than 20"),
        ("x" * 1_000_001, "1000001 characters; at most 1000000 are read"),
        ("!!python/object/apply:os.mkdir [marker]", "could not determine a constructor"),
        ("!!python/name:os.system", "could not determine a constructor"),
    ],
    ids=["billion laughs", "deep lists", "deep mappings", "size", "call", "name"],
)
def test_a_hostile_document_is_one_error(text, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DocumentError) as caught:
        read_yaml(text)
    assert says in str(caught.value) and len(str(caught.value)) < 300
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(StudyError) as refused:
        load(tmp_path / "study.yaml", vocabulary())
    assert len(refused.value.errors) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["study.yaml"]
