"""Names are slugs, and no file that somebody else wrote chooses where this machine's files go."""

import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from cnnbench.data.readers import DATASETS
from cnnbench.data.sources import DataError
from cnnbench.ledger import Ledger
from cnnbench.protocol.recorded import find
from cnnbench.study import StudyError, parse, read_recorded, recorded_folder
from cnnbench.vocabulary import vocabulary
from ledger_rows import final

STUDY = {
    "study": "published", "data": {"dataset": "digits", "image_size": 16}, "architectures": [{"name": "lenet5"}],
    "budget": {"trials": 1, "epochs": 1}, "storage": "results", "reports": "reports",
}  # fmt: skip
ESCAPES = ["/", "/tmp/cnnbench-escape", "../up", "results/../../up", "~/up", "~root/up"]


@pytest.mark.parametrize(
    "name", ["../up", "/etc/x", "a/b", "..", ".hidden", "", "a\n", "a b", "A", "ä", "x" * 65, "-r"]
)
def test_a_study_or_label_that_is_no_plain_name_is_refused(name):
    text = json.dumps({**STUDY, "study": name, "architectures": [{"name": "lenet5", "label": name}]})
    with pytest.raises(StudyError) as caught:
        parse(text, vocabulary())
    fields = [line.partition(":")[0] for line in caught.value.errors]
    assert fields[:2] == ["study", "architectures.0.label"], caught.value.errors


@pytest.mark.parametrize("name", ["../../../etc/x:f", "..:f", "/tmp/x:f", "timm:../../up"])
def test_an_architecture_from_outside_makes_a_row_with_a_plain_name(name):
    (architecture,) = parse(json.dumps({**STUDY, "architectures": ["lenet5"]}), vocabulary()).architectures
    row = architecture.model_copy(update={"name": name}).row
    assert "/" not in row and not row.startswith(".")


def published(folder: Path, **changes: object) -> Path:
    """A folder as somebody else may have sent it: a ledger with six finals, and their study.json."""
    folder.mkdir(parents=True)
    finals = [final("lenet5", seed, 0.9) for seed in range(1000, 1006)]
    for record in finals:
        Ledger(folder / "ledger.jsonl").append(record)
    (folder / "study.json").write_text(json.dumps({**STUDY, **changes}))
    return folder


@pytest.mark.parametrize("place", ESCAPES)
def test_a_published_folder_does_not_choose_where_reports_and_runs_go(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = published(tmp_path / "from-elsewhere", reports=place, storage=place)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StudyError, match=r"reports: .* is not below the current folder; say --out"):
        recorded_folder(read_recorded(folder / "study.json"), "reports", folder / "study.json", "say --out")
    with pytest.raises(StudyError, match=r"storage: .* is not below the current folder; .*--set storage"):
        find(folder, "lenet5")
    assert sorted(tmp_path.rglob("*")) == before
    assert find(folder, "lenet5", ["storage=results"]).study.storage == "results"


def test_a_published_folder_with_paths_in_it_is_refused_by_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = published(tmp_path / "another", reports="/tmp/cnnbench-escape")
    ran = subprocess.run([sys.executable, "-m", "cnnbench", "report", str(folder)], capture_output=True, text=True)
    assert ran.returncode == 2 and "reports: /tmp/cnnbench-escape is not below" in ran.stderr, ran.stderr
    folder = published(tmp_path / "from-elsewhere", study="../../up")
    for verb in (["report", str(folder)], ["reproduce", str(folder), "lenet5"]):
        ran = subprocess.run([sys.executable, "-m", "cnnbench", *verb], capture_output=True, text=True)
        assert ran.returncode == 2 and "no plain name" in ran.stderr, ran.stderr


def test_a_published_folder_does_not_choose_the_cluster(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = published(tmp_path / "from-elsewhere", resources={"cluster": "192.0.2.1:6379", "cpus": 2.0})
    assert find(folder, "lenet5").study.resources.model_dump(include={"cluster", "cpus"}) == {
        "cluster": "auto", "cpus": 2.0,
    }  # fmt: skip


def test_an_own_storage_outside_the_current_folder_is_reproduced_in(tmp_path, monkeypatch):
    storage = tmp_path / "storage"
    folder = published(storage / "published", storage=str(storage))
    monkeypatch.chdir(tmp_path)
    assert find(folder, "lenet5").study.storage == str(storage)


def test_an_archive_of_a_data_set_writes_nothing_outside_its_folder(tmp_path):
    """torchvision unpacks; this pins that the version in use keeps to the folder."""
    from torchvision.datasets.utils import extract_archive

    for name in ("../escaped", f"{tmp_path}/escaped"):
        archive = tmp_path / "hostile.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
        with suppress(tarfile.OutsideDestinationError):  # an absolute name is taken as one below the folder
            extract_archive(str(archive), str(tmp_path / "data"))
        assert not (tmp_path / "escaped").exists()
    assert (tmp_path / f"data/{tmp_path}/escaped").exists()


def test_a_data_set_with_another_checksum_is_refused_before_anything_of_it_is_unpickled(tmp_path):
    """CIFAR's own files are pickles: torchvision's checksums of them come first."""

    class Exploit:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "marker"),)

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"]:
        (folder / name).write_bytes(pickle.dumps(Exploit()))
    with pytest.raises(DataError, match="incomplete or corrupted"):
        DATASETS["cifar10"].thing.load_train(tmp_path)
    assert not (tmp_path / "marker").exists()


def test_an_image_that_would_fill_the_memory_is_refused_by_name(tmp_path):
    for name in ("red", "blue"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("1", (8, 8)).save(tmp_path / "train" / name / f"{number}.png")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "train" / "red" / "bomb.png")  # 6 kB; 1.2 GB as colour
    with pytest.raises(DataError, match=r"bomb.png: .*decompression bomb"):
        DATASETS["image_folder"].thing.load_train(tmp_path, image_size=8)
        DATASETS["image_folder"].thing.load_test(tmp_path, image_size=8)
