"""Studies by name, new study files, and the names that may stand in one: ``studies``, ``new``, ``choices``."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cnnbench import __version__
from cnnbench.commands.cli import app
from cnnbench.commands.studies import find
from cnnbench.components.kinds import KINDS, NUMBERS
from cnnbench.data.readers import DATASETS
from cnnbench.protocol.plan import plan_rows
from cnnbench.study import load
from cnnbench.study.ready_made import ready_made_studies
from cnnbench.training.recipe import KNOBS
from cnnbench.vocabulary import vocabulary


def cnnbench(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: an empty one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _pictures(root: Path, split: str = "train", classes: tuple[str, ...] = ("blue", "red"), count: int = 12) -> None:
    random = np.random.default_rng(0)
    for label in classes:
        place = root / split / label
        place.mkdir(parents=True)
        for number in range(count):
            Image.fromarray(random.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(place / f"{number}.png")


# ---------------------------------------------------------------- studies


def test_a_ready_made_study_is_meant_where_there_is_no_file_of_its_name(folder: Path):
    assert find(Path("digits")) == ready_made_studies()["digits"]
    Path("digits").mkdir()
    assert find(Path("digits")) == ready_made_studies()["digits"]
    assert find(Path("digits"), folders=True) == Path("digits")
    Path("digits").rmdir()
    Path("digits").write_text("study: mine")
    assert find(Path("digits")) == Path("digits")


def test_a_path_is_never_taken_for_a_name(folder: Path):
    for path in ("digits.yaml", "elsewhere/digits"):
        assert find(Path(path)) == Path(path)
        assert f"{path}: No such file or directory" in cnnbench("run", path, code=2).stderr


@pytest.mark.parametrize("arguments", [("run", "digts"), ("effects", "digts"), ("reproduce", "digts", "lenet5")])
def test_an_unknown_study_is_answered_with_those_that_there_are(folder: Path, arguments: tuple[str, ...]):
    said = cnnbench(*arguments, code=2).stderr
    assert said == (
        f"digts: no such file, and no ready-made study has this name; choose from {', '.join(ready_made_studies())}\n"
    )


def test_a_ready_made_study_is_planned_from_any_folder(folder: Path):
    said = cnnbench("run", "digits", "--set", "architectures=[lenet5]", "--dry-run").stdout
    assert "study digits: digits, " in said and "search: 1 architectures × 8 trials" in said
    assert not list(folder.iterdir())


def test_a_row_of_a_ready_made_study_that_was_not_run_asks_for_a_run(folder: Path):
    said = cnnbench("reproduce", "digits", "lenet5", code=2).stderr
    assert "results/digits/ledger.jsonl: no such file; run the study first" in said


def test_every_ready_made_study_is_listed_with_what_its_file_says(folder: Path):
    listed = {study["name"]: study for study in json.loads(cnnbench("studies", "--json").stdout)}
    assert list(listed) == list(ready_made_studies())
    for name, path in ready_made_studies().items():
        study = load(path, vocabulary())
        assert study.study == name
        assert listed[name]["what"].endswith("."), "a study's file opens with a sentence of one line"
        expected = (study.data.dataset, len(study.architectures), study.budget.trials, study.budget.epochs)
        assert tuple(listed[name][key] for key in ("dataset", "rows", "trials", "epochs")) == expected
        assert listed[name]["seeds"] == study.finals.seeds
    table = cnnbench("studies").stdout
    assert all(study["what"] in table for study in listed.values())


# ---------------------------------------------------------------- new


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_new_study_of_any_data_set_can_be_planned(folder: Path, dataset: str):
    _pictures(folder)
    cnnbench("new", "mine", "--dataset", dataset, "--root", ".")
    study = load(Path("mine.yaml"), vocabulary())
    assert (study.study, study.data.dataset, study.data.root) == ("mine", dataset, str(folder.resolve()))
    facts = DATASETS[dataset].facts
    rows = plan_rows(study, channels=study.data.channels or facts["channels"], classes=facts["classes"] or 2)
    assert len(rows) == 4 and not any(row.left_out for row in rows.values())


def test_a_new_study_explains_each_of_its_fields(folder: Path):
    cnnbench("new", "mine", "--dataset", "fake")
    lines = Path("mine.yaml").read_text().splitlines()
    names = ("study", "root", "image_size", "channels", "validation_fraction", "architectures", "space", "schedule",
             "batch_size", "crop_padding", "horizontal_flip", "dropout", "unreached_components")  # fmt: skip
    for name in names:
        (line,) = (line for line in lines if line.strip().startswith(f"{name}:"))
        assert "  # " in line, line
    for name in ("budget", "search", "finals", "effects", "resources"):
        above = lines[next(number for number, line in enumerate(lines) if line.startswith(f"{name}:")) - 1]
        assert above.startswith("# "), name
    assert load(Path("mine.yaml"), vocabulary()).data.root is None


def test_a_new_study_of_ones_own_images_names_their_classes_and_runs(folder: Path):
    _pictures(folder / "pets")
    said = cnnbench("new", "pets", "--dataset", "image_folder", "--root", "pets").stdout
    assert "24 training images of 2 classes: blue (12), red (12)\n" in said
    assert "cnnbench run pets.yaml --dry-run" in said
    study = load(Path("pets.yaml"), vocabulary())
    assert study.space["batch_size"].value == 8, "of 24 images"  # type: ignore[union-attr]
    said = cnnbench("run", "pets.yaml", "--set", "architectures=[simple_cnn]", "--dry-run").stdout
    # of each class's 12 images, 2 are for the test and 2 (15 % of 10) for validation
    assert "study pets: image_folder, 16 training and 4 validation images of 3×64×64, 2 classes" in said


def test_of_many_classes_ten_are_named(folder: Path):
    _pictures(folder, classes=tuple(f"class_{number:02}" for number in range(12)), count=2)
    said = cnnbench("new", "many", "--dataset", "image_folder", "--root", ".").stdout
    assert "24 training images of 12 classes: class_00 (2), " in said and "class_09 (2) and 2 more\n" in said


def test_a_study_file_is_not_overwritten(folder: Path):
    Path("mine.yaml").write_text("study: precious")
    assert "mine.yaml: exists; " in cnnbench("new", "mine", "--dataset", "fake", code=2).stderr
    assert Path("mine.yaml").read_text() == "study: precious"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mine", "--dataset", "imagefolder"), "unknown data set 'imagefolder'; choose from digits, "),
        (("mine", "--dataset", "image_folder", "--root", "nowhere"), "image_folder: no folder "),
        (("My pets", "--dataset", "fake"), "'My pets' is no plain name: "),
        (("digits", "--dataset", "digits"), "digits: a ready-made study has this name"),
    ],
)
def test_what_no_study_can_be_made_of_is_refused(folder: Path, arguments: tuple[str, ...], message: str):
    assert cnnbench("new", *arguments, code=2).stderr.startswith(message)
    assert not list(folder.iterdir())


# ---------------------------------------------------------------- choices, --version, verbs


def test_all_that_a_study_may_say_is_listed():
    said = cnnbench("choices").stdout.splitlines()
    listed = {place: names.split(", ") for place, names in (line.split(": ", 1) for line in said)}
    assert listed["data.dataset"] == list(DATASETS)
    assert set(listed["space"]) == {*KNOBS, *KINDS}
    assert {"search.sampler", "budget.trials", "architectures.width"} <= set(listed["study"])
    for kind in set(KINDS) - set(NUMBERS):
        assert cnnbench("choices", kind).stdout.split() == listed[kind]


def test_a_list_says_what_each_of_its_names_may_hold():
    space = cnnbench("choices", "space").stdout
    assert "\nmomentum                  a number from 0 to 0.9999; default 0.9\n" in space
    assert "search.pruner                asha, median, none; default asha\n" in cnnbench("choices", "study").stdout


def test_an_unknown_list_is_answered_with_the_nearest():
    assert "the nearest are activation, " in cnnbench("choices", "activations", code=2).stderr


def test_the_version_is_said():
    assert cnnbench("--version").stdout == f"cnnbench {__version__}\n"


def test_an_unknown_verb_is_answered_with_the_nearest():
    assert "Did you mean 'run'?" in cnnbench("rnu", code=2).stderr
