"""What an addition costs: the one file or line of CONTRIBUTING.md's check lists, written into a copy of the package,
where their commands then work. README.md's list says the same."""

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from additions import ADDITIONS, ROOT, copy_with, section_of
from cnnbench.architectures import ARCHITECTURES
from cnnbench.commands.cli import app
from cnnbench.components.kinds import COMPONENTS
from cnnbench.data.readers import DATASETS
from cnnbench.study.samplers import SAMPLERS

NAMES = [added.name for added in ADDITIONS.values()]
STUDY = """
study: small
data: {dataset: digits, image_size: 16}
architectures: [lenet5]
space: {lr: {float: [0.01, 0.1]}}
budget: {trials: 2, epochs: 1}
"""
# Runs the commands that it is given, then says what Python alone can see of the additions.
WALK = """
import importlib, json, sys
from typer.testing import CliRunner
from cnnbench.commands.cli import app

done = {}
for command in json.load(sys.stdin):
    result = CliRunner().invoke(app, command)
    done[" ".join(command)] = [result.exit_code, result.output]

from cnnbench.architectures import ARCHITECTURES
from cnnbench.components.kinds import COMPONENTS
from cnnbench.data.readers import DATASETS
from cnnbench.trial import study_images
from cnnbench.trial.isolation import OutOfReach, isolate
from cnnbench.search.search import make_sampler
from cnnbench.study import Search
from cnnbench.study.samplers import SAMPLERS

names = [list(names) for names in (ARCHITECTURES, COMPONENTS["activation"], DATASETS, SAMPLERS)]
kmnist = DATASETS["kmnist"].thing
images = [[*split.pixels.shape] for split in (kmnist.load_train(), kmnist.load_test())]
sampler = type(make_sampler(Search(sampler="qmc"), 0)).__name__

isolate()
refused = []
for module in ("cnnbench.data.readers.kmnist", "cnnbench.data.readers", study_images.__name__, "cnnbench.data.images"):
    try:
        importlib.import_module(module)
    except OutOfReach:
        refused.append(module)
try:
    from cnnbench.data import readers
except OutOfReach:
    refused.append("from cnnbench.data import readers")
json.dump([done, names, images, sampler, refused], open("walked.json", "w"))
"""


@dataclass(frozen=True)
class Walked:
    """A copy of the package with all four additions, and what was found there."""

    root: Path
    done: dict[str, tuple[int, str]]  # command → exit code, output
    names: list[list[str]]  # of architectures, activations, data sets, samplers
    images: list[list[int]]  # the shapes of the added data set's training and test images
    sampler: str
    refused: list[str]


def commands_of(document: str) -> list[str]:
    return re.findall(r"`(cnnbench [^`]+)`", section_of(document))


def arguments_of(command: str, name: str) -> list[str]:
    return shlex.split(command.replace("STUDY", "study.yaml").replace("NAME", name))[1:]


def write_images(folder: Path) -> None:
    """Ten images of each of KMNIST's classes to train on, and two to test."""
    folder.mkdir()
    for split, count in (("train", 100), ("test", 20)):
        pixels = np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        np.savez(folder / f"kmnist-{split}-imgs.npz", pixels)
        np.savez(folder / f"kmnist-{split}-labels.npz", np.arange(count, dtype=np.uint8) % 10)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Walked:
    folder: Path = tmp_path_factory.mktemp("additions")
    root = copy_with(folder, *ADDITIONS.values())
    (folder / "study.yaml").write_text(STUDY)
    write_images(folder / "kmnist")
    asked = [arguments_of(command, added.name) for added in ADDITIONS.values() for command in added.commands]
    asked += [arguments_of(*pair) for pair in zip(commands_of("README.md"), NAMES, strict=True)]
    environment = {**os.environ, "PYTHONPATH": str(root), "CNNBENCH_DATA": str(folder), "COLUMNS": "200"}
    ran = subprocess.run(
        [sys.executable, "-c", WALK], cwd=folder, env=environment, input=json.dumps(asked), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=250,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    return Walked(root, *json.loads((folder / "walked.json").read_text()))


def test_there_is_a_check_list_for_each_thing_that_costs_one_file_or_line():
    assert list(ADDITIONS) == ["An architecture", "A component value", "A data set", "A sampler"]
    assert [(ROOT / added.place).exists() for added in ADDITIONS.values()] == [False, False, False, True]


@pytest.mark.parametrize("title", ADDITIONS)
def test_without_the_addition_its_commands_are_refused_by_name(title, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(STUDY)
    added = ADDITIONS[title]
    result = CliRunner().invoke(app, arguments_of(added.commands[0], added.name))
    assert result.exit_code == 2 and f"'{added.name}'" in result.output, result.output


@pytest.mark.parametrize("title", ADDITIONS)
def test_the_one_file_or_line_makes_its_commands_work(walked, title):
    added = ADDITIONS[title]
    for command in added.commands:
        code, output = walked.done[" ".join(arguments_of(command, added.name))]
        assert code == 0 and added.name in output, output
    assert title != "An architecture" or "1,369,738" in walked.done["models all_cnn_c"][1]


def test_the_readmes_check_list_names_the_same_places_and_its_commands_work(walked):
    items = section_of("README.md").split("\n- [ ] ")[1:]
    for item, added in zip(items, ADDITIONS.values(), strict=True):
        assert re.findall(r"`(platform/[^`]+)`", item)[0].rstrip("/") in (added.place, str(Path(added.place).parent))
        (command,) = re.findall(r"`(cnnbench [^`]+)`", item)
        code, output = walked.done[" ".join(arguments_of(command, added.name))]
        assert code == 0 and added.name in output, output


def test_what_is_added_stands_behind_what_was_there(walked):
    known = [list(names) for names in (ARCHITECTURES, COMPONENTS["activation"], DATASETS, SAMPLERS)]
    assert walked.names == [[*names, added] for names, added in zip(known, NAMES, strict=True)]


def test_an_added_data_set_and_an_added_sampler_are_what_their_code_says(walked):
    assert walked.images == [[100, 1, 28, 28], [20, 1, 28, 28]] and walked.sampler == "QMCSampler"


def test_an_added_data_set_is_out_of_a_trials_reach_by_where_it_stands(walked):
    """Also where its process had read it before; test_isolation.py has a trial try."""
    assert walked.refused == [
        *("cnnbench.data.readers.kmnist", "cnnbench.data.readers", "cnnbench.trial.study_images"),
        "from cnnbench.data import readers",
    ]


def test_the_tests_that_hold_for_all_take_what_is_added_and_no_other_test_minds(walked):
    """Those of the added names, and those that compare lists."""
    files = ("architectures", "published_sizes", "components", "activations", "matrix", "search", "description")
    folders = [walked.root, *(ROOT / name for name in ("tests", "tests/cluster", "tests/faults", "benchmarks"))]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
         "-o", f"pythonpath={' '.join(map(str, folders))}",
         "-k", "all_cnn_c or squareplus or qmc or page or missing or allowed_lists or component_reaches",
         *(str(ROOT / "tests" / f"test_{name}.py") for name in files)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(walked.root)}, text=True, timeout=280,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert "docs/matrix.md has no activation=squareplus, all_cnn_c yet: make matrix-missing" in ran.stdout
    passed = int(re.findall(r"(\d+) passed", ran.stdout)[0])
    assert passed > 20, ran.stdout
