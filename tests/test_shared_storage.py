"""`shared_storage`: checkpoints and a copy of the ledger behind a URI, on a real S3 server and in a folder; a head that
is lost takes nothing finished with it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cnnbench.ledger import Ledger
from cnnbench.protocol.mirror import Mirror, mirrors
from cnnbench.search.search import Proposal
from cnnbench.storage.remote import RemoteError, RemoteFolder
from cnnbench.study import Study, StudyError, StudyFolder, parse
from cnnbench.training.checkpoints import CheckpointFile
from cnnbench.trial.remote_checkpoint import RemoteCheckpoint, checkpoint_at
from cnnbench.uri import below, parent_and_name
from cnnbench.vocabulary import vocabulary
from s3_server import BUCKET, s3_server
from trials import record

STUDY = "study: s\ndata: {dataset: digits}\narchitectures: [lenet5]\nbudget: {trials: 1, epochs: 1}\n"
STATE = {"weights": torch.arange(4.0), "epoch": 3}


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URI of an empty folder of a bucket, with its server's address and keys in the environment."""
    with s3_server() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield f"s3://{BUCKET}/tests"


@pytest.fixture(params=["s3", "folder"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder of this test's own, in a bucket and on a disk."""
    if request.param == "folder":
        return (tmp_path / "shared").as_uri()
    return below(request.getfixturevalue("s3"), tmp_path.name)


def study(folder: Path, uri: str | None) -> Study:
    return parse(STUDY, vocabulary(), [f"storage={folder}", f"shared_storage={uri or 'null'}"])


def test_a_file_is_written_read_listed_replaced_and_removed(uri: str) -> None:
    place = RemoteFolder(uri)
    assert place.read("a/1") is None and place.names("a") == []
    place.write("a/2", b"two")
    place.write("a/1", b"one")
    place.write("a/1", b"ONE")
    assert place.read("a/1") == b"ONE" and place.names("a") == ["1", "2"]
    place.remove("a/1")
    place.remove("a/1")
    assert place.names("a") == ["2"]


def test_a_place_that_is_not_there_is_named_without_its_key(s3: str) -> None:
    with pytest.raises(RemoteError, match=r"s3://nowhere-at-all/x/a: can't write: .*bucket") as caught:
        RemoteFolder("s3://nowhere-at-all/x").write("a", b"")
    assert "test" not in str(caught.value).split(": can't")[0]
    with pytest.raises(RemoteError, match="can't read"):
        RemoteFolder("no-such-scheme://x").read("a")


def test_a_query_stays_at_the_end_of_a_uri() -> None:
    assert below("s3://b/c/?region=x", "s/t") == "s3://b/c/s/t?region=x"
    assert parent_and_name("s3://b/c/s/t?region=x") == ("s3://b/c/s?region=x", "t")
    assert below("file:///a", "") == "file:///a"


def test_a_checkpoint_comes_back_and_only_to_its_own_configuration(uri: str) -> None:
    file = checkpoint_at(below(uri, "x.ckpt"), 0.0)
    assert isinstance(file, RemoteCheckpoint) and file.is_due() and file.load("mine") is None
    file.save(STATE, "mine")
    loaded = file.load("mine")
    assert loaded is not None and torch.equal(loaded["weights"], STATE["weights"]) and loaded["epoch"] == 3
    assert file.load("another") is None
    file.remove()
    assert file.load("mine") is None


def test_a_damaged_checkpoint_is_not_used(uri: str) -> None:
    file = checkpoint_at(below(uri, "x.ckpt"), 0.0)
    file.save(STATE, "mine")
    whole = RemoteFolder(uri).read("x.ckpt") or b""
    RemoteFolder(uri).write("x.ckpt", whole[:-10])
    assert file.load("mine") is None


def test_without_a_uri_checkpoints_lie_in_the_storage_folder(tmp_path: Path, uri: str) -> None:
    own, shared = study(tmp_path, None).folder, study(tmp_path, uri).folder
    assert own.shared(own.checkpoint("t")) == str(tmp_path / "s/checkpoints/t.ckpt")
    assert type(checkpoint_at(str(tmp_path / "t.ckpt"))) is CheckpointFile
    assert shared.shared(shared.checkpoint("t")) == f"{uri}/s/checkpoints/t.ckpt"
    assert (own.shared(own.path), shared.shared(shared.path)) == (str(tmp_path / "s"), f"{uri}/s")


def _run(folder: Path, uri: str, count: int) -> tuple[Ledger, list[str]]:
    """Appends records until the study in ``folder`` has ``count`` of them, as a stage does."""
    said: list[str] = []
    (mirror,) = mirrors(study(folder, uri), said.append)
    ledger = Ledger(folder / "s" / "ledger.jsonl")
    for index in range(len(ledger.read().records), count):
        done = record(Proposal("lenet5", index, {"lr": 0.1}), [0.5])
        ledger.append(done)
        mirror.finished(done)
    return ledger, said


def test_a_new_head_goes_on_where_the_lost_one_was(tmp_path: Path, uri: str) -> None:
    (tmp_path / "one" / "s").mkdir(parents=True)
    (tmp_path / "one" / "s" / "precision.json").write_text('{"lenet5": 1}\n')
    first, _ = _run(tmp_path / "one", uri, 3)
    second, said = _run(tmp_path / "two", uri, 5)
    assert said == [f"3 records of {uri}/s are fetched: an earlier run's, lost here"]
    assert second.path.read_bytes().startswith(first.path.read_bytes()) and len(second.read().records) == 5
    assert (tmp_path / "two/s/precision.json").read_text() == '{"lenet5": 1}\n'
    again, _ = _run(tmp_path / "one", uri, 5)  # the first one is found again, and is behind
    assert again.path.read_bytes() == second.path.read_bytes()


def test_what_the_mirror_lacks_is_copied_when_the_study_goes_on(tmp_path: Path, uri: str) -> None:
    ledger, _ = _run(tmp_path, uri, 2)
    ledger.append(record(Proposal("lenet5", 2, {"lr": 0.1}), [0.5]))  # the mirror was down
    _run(tmp_path, uri, 3)
    lines = [RemoteFolder(f"{uri}/s/ledger").read(f"{number:06d}.json") for number in range(3)]
    assert lines == ledger.path.read_bytes().splitlines()


def test_two_runs_of_one_name_are_not_mixed(tmp_path: Path, uri: str) -> None:
    _run(tmp_path / "one", uri, 2)
    other = Ledger(tmp_path / "two" / "s" / "ledger.jsonl")
    other.append(record(Proposal("lenet5", 0, {"lr": 0.9}), [0.6]))
    with pytest.raises(StudyError, match="holds another run of this study"):
        _run(tmp_path / "two", uri, 2)


def test_a_mirror_that_is_down_holds_up_nothing_and_catches_up(tmp_path: Path) -> None:
    said: list[str] = []
    shared = tmp_path / "shared"
    mirror = Mirror(RemoteFolder(shared.as_uri()), StudyFolder(tmp_path / "s"), said.append)
    shutil.rmtree(shared)
    shared.write_text("a file where the folder should be")
    done = [record(Proposal("lenet5", index, {"lr": 0.1}), [0.5]) for index in range(3)]
    mirror.finished(done[0])
    mirror.finished(done[1])
    assert len(said) == 1 and said[0].endswith("it is tried again with each trial")
    shared.unlink()
    mirror.finished(done[2])
    assert len(list((shared / "ledger").iterdir())) == 3


def test_a_shared_storage_that_can_not_be_reached_is_a_users_error(tmp_path: Path, s3: str) -> None:
    with pytest.raises(StudyError, match=r"shared_storage: s3://nowhere-at-all/s/README: .*check the address"):
        mirrors(study(tmp_path, "s3://nowhere-at-all"), print)


@pytest.mark.parametrize("wrong", ["storage=s3://bucket/x", "shared_storage=/a/folder"])
def test_a_folder_and_a_uri_are_not_mixed_up(wrong: str) -> None:
    with pytest.raises(StudyError, match=wrong.partition("=")[0]):
        parse(STUDY, vocabulary(), [wrong])


@pytest.mark.ray
@pytest.mark.timeout(2400)
def test_a_study_whose_folder_is_lost_is_finished_from_its_copy_on_s3(tmp_path: Path, s3: str) -> None:
    """The second run has nothing but the study file and the bucket, as a new head has, and trains nothing again."""
    text = STUDY.replace("digits}", "digits, image_size: 16}") + (
        f"precision: fp32\nfinals: {{seeds: 1, few_seeds_reason: a test}}\nshared_storage: {s3}/whole\n"
        "checkpoint_every_s: 0\nresources: {cluster: local, concurrent_trials: 1}\n"
    )
    outputs = []
    for head in ("one", "two"):
        (tmp_path / head).mkdir()
        (tmp_path / head / "s.yaml").write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "cnnbench", "run", "s.yaml"], cwd=tmp_path / head, text=True, timeout=900,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        outputs.append(done.stdout)
    assert "are fetched" in outputs[1] and "trials of this study are finished" in outputs[1]
    ledgers = [(tmp_path / head / "results/s/ledger.jsonl").read_bytes() for head in ("one", "two")]
    assert ledgers[0] == ledgers[1] and len(ledgers[0].splitlines()) == 4
    assert json.loads((tmp_path / "two/results/s/frozen.json").read_text())
    assert RemoteFolder(f"{s3}/whole/s").names("checkpoints") == []  # of finished trials, none is kept
