"""A search trial's process can't get at the test images. The spy is an architecture of a user's own: it looks around
when it is built, in the trial's process, where nothing is simulated. The study runs in a copy of the package with one
data set more, CONTRIBUTING.md's example: it is out of reach by where it stands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from additions import ADDITIONS, copy_with

pytestmark = pytest.mark.ray

SPY = """
import gc, importlib, json, os, sys
from pathlib import Path
import torch
from torch import nn

def look_around():
    found = {"pid": os.getpid(), "CNNBENCH_DATA": os.environ.get("CNNBENCH_DATA")}
    for reader in ("cnnbench.data.readers", "cnnbench.data.readers.digits", "cnnbench.data.readers.kmnist",
                   "cnnbench.data.sources", "cnnbench.trial.study_images", "sklearn.datasets", "cnnbench.data.resize"):
        try:
            importlib.import_module(reader)
            found[reader] = "imported"
        except ImportError as error:
            found[reader] = str(error)
    import cnnbench
    from cnnbench.data.images import Images
    from cnnbench.trial.images import TrialImages
    from cnnbench.trial.spec import TrialSpec
    found["package"] = str(Path(cnnbench.__file__).parent)
    things = gc.get_objects()
    found["stages"] = sorted({thing.stage for thing in things if isinstance(thing, TrialSpec)})
    found["images"] = sorted({len(thing) for thing in things if isinstance(thing, Images)})
    found["tests"] = [thing.split.test for thing in things if isinstance(thing, TrialImages)]
    found["loaders"] = [name for thing in things if isinstance(thing, dict) for name in thing
                        if type(name) is str and name == "load_test"]
    return found

def network(num_classes, in_channels):
    built = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * in_channels, num_classes))
    if built[2].weight.device.type != "meta" and "cnnbench.trial.run" in sys.modules:
        with open(Path(__file__).parent / "seen.jsonl", "a") as file:
            file.write(json.dumps(look_around()) + "\\n")
    return built
"""
STUDY = """
study: spied
data: {dataset: digits, image_size: 16}
architectures: ["spy:network"]
space: {lr: 0.05, schedule: constant}
budget: {trials: 2, epochs: 1}
finals: {seeds: 1, few_seeds_reason: a test}
precision: fp32
resources: {concurrent_trials: 1, cluster: local}
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> dict[str, list[dict[str, object]]]:
    """Stage → what the spy found in that stage's trials."""
    folder: Path = tmp_path_factory.mktemp("spied")
    root = copy_with(folder, ADDITIONS["A data set"])
    (folder / "spy.py").write_text(SPY)
    (folder / "study.yaml").write_text(STUDY)
    done = subprocess.run(
        [sys.executable, "-m", "cnnbench", "run", "study.yaml"], cwd=folder, text=True, timeout=900,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "CNNBENCH_DATA": str(folder), "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    by_stage: dict[str, list[dict[str, object]]] = {"search": [], "final": []}
    for line in (folder / "seen.jsonl").read_text().splitlines():
        found = json.loads(line)
        if len(found["stages"]) == 1:  # not the driver, nor its probe
            by_stage[found["stages"][0]].append(found)
    return by_stage


def test_a_search_trial_finds_no_reader_no_path_and_no_test_image(seen):
    assert len(seen["search"]) == 2
    for found in seen["search"]:
        assert Path(found["package"], "data", "readers", "kmnist.py").exists()
        modules = [name for name in found if "." in name]
        assert [name for name in modules if found[name] == "imported"] == ["cnnbench.data.resize"]
        refused = [name for name in modules if "a trial's process reads no data set" in str(found[name])]
        assert len(refused) == 6 and "cnnbench.data.readers.kmnist" in refused
        assert found["CNNBENCH_DATA"] is None and found["loaders"] == []
        assert found["tests"] and set(found["tests"]) == {None}
        assert 359 not in found["images"] and sum(found["images"]) == 1797 - 359


def test_the_spy_sees_what_is_there_to_be_seen(seen):
    assert len(seen["final"]) == 2  # one final, and its A/A control
    for found in seen["final"]:
        assert set(found["tests"]) == {359} and 359 in found["images"]
