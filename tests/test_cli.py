"""The command line: what it prints, what it refuses, and with which exit code."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnbench.protocol.plan import plan_rows
from cnnbench.study import StudyError, load, parse
from cnnbench.vocabulary import vocabulary

STUDIES = sorted((Path(__file__).parents[1] / "search_spaces").glob("*.yaml"))
CHANNELS = {"digits": 1, "fashion_mnist": 1}
SMALL = """
study: small
data: {dataset: digits, image_size: 16}
architectures: [lenet5, resnet20]
space: {lr: 0.1}
budget: {trials: 2, epochs: 3}
"""


def cnnbench(*arguments: str, folder: Path, code: int = 0, **environment: str) -> str:
    import os

    done = subprocess.run(
        [sys.executable, "-m", "cnnbench", *arguments], cwd=folder, text=True, timeout=900,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == code, done.stdout
    return done.stdout


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_that_comes_with_cnnbench_can_be_planned(path):
    study = load(path, vocabulary())
    rows = plan_rows(study, channels=CHANNELS.get(study.data.dataset, 3), classes=10)
    assert len(rows) == len(study.architectures)
    assert path.read_text().startswith("# "), "a study opens with its purpose"


def test_a_component_without_a_site_is_refused_before_anything_starts_or_left_out_if_the_study_says_so():
    study = parse(SMALL.replace("lr: 0.1", "lr: 0.1, window_pooling: {choice: [max, average]}"), vocabulary())
    with pytest.raises(StudyError, match=r"architectures.1 \(resnet20\): space.window_pooling: .* no such site"):
        plan_rows(study, channels=1, classes=10)
    allowed = study.model_copy(update={"unreached_components": "leave_out"})
    rows = plan_rows(allowed, channels=1, classes=10)
    assert rows["resnet20"].left_out == ("window_pooling",) and "window_pooling" not in rows["resnet20"].space
    assert rows["lenet5"].left_out == () and "window_pooling" in rows["lenet5"].space


def test_a_network_that_does_not_fit_the_images_is_refused_with_the_smallest_size_that_does():
    study = parse(SMALL.replace("resnet20", "{name: resnet18, stem: imagenet}").replace("16", "8"), vocabulary())
    with pytest.raises(StudyError, match=r"architectures.1 \(resnet18\): .*the smallest it takes is"):
        plan_rows(study, channels=1, classes=10)


def test_bad_input_exits_with_2_and_every_error_at_once(tmp_path):
    (tmp_path / "bad.yaml").write_text(SMALL.replace("lenet5", "lenet").replace("trials: 2", "trials: many"))
    output = cnnbench("run", "bad.yaml", "--set", "space.activation=rellu", folder=tmp_path, code=2)
    assert "bad.yaml: budget.trials: should be a whole number, got 'many'" in output
    nearest = "the nearest are relu, prelu, frelu; 'cnnbench choices activation' lists all 14"
    assert f"space.activation: unknown value 'rellu'; {nearest}" in output
    assert "Traceback" not in output and not (tmp_path / "results").exists()


def test_missing_data_exits_with_2_and_says_what_was_looked_for(tmp_path):
    (tmp_path / "study.yaml").write_text(SMALL.replace("digits", "cifar10"))
    output = cnnbench("run", "study.yaml", folder=tmp_path, code=2, CNNBENCH_DATA=str(tmp_path / "nowhere"))
    assert "cifar10: not found, and the download failed" in output and str(tmp_path / "nowhere") in output
    assert "Traceback" not in output


def test_a_dry_run_prints_the_plan_and_runs_nothing(tmp_path):
    (tmp_path / "study.yaml").write_text(SMALL)
    output = cnnbench("run", "study.yaml", "--dry-run", folder=tmp_path)
    assert "search: 2 architectures × 2 trials × at most 3 epochs (14,664 images)" in output
    assert "finals: 2 × 6 seeds × at most 3 epochs (51,768 images)" in output
    assert "lenet5" in output and "device-hours" in output
    assert not (tmp_path / "results").exists()


def test_a_report_of_a_folder_without_a_study_says_what_to_give(tmp_path):
    assert "give the folder of a study that was run" in cnnbench("report", "results/x", folder=tmp_path, code=2)


def test_the_ui_without_a_study_says_so(tmp_path):
    assert "run a study first" in cnnbench("ui", folder=tmp_path, code=2)


@pytest.mark.ray
def test_the_study_of_ones_own_images_runs_with_its_finals_on_two_workers(tmp_path):
    """search_spaces/image_folder.yaml itself, with a smaller budget, on two classes of generated pictures."""
    random = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 8)):
        for name, hue in (("red", (200, 60, 60)), ("blue", (60, 60, 200))):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(random.normal(hue, 40, (40, 52, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.jpg")
    study_file = next(path for path in STUDIES if path.stem == "image_folder")
    changes = {
        "data.root": "images", "data.image_size": "32", "architectures": "[{name: simple_cnn, width: 0.25}]",
        "budget.trials": "1", "budget.epochs": "3", "search.min_epochs": "1", "space.batch_size": "8",
        "space.warmup_epochs": "1", "space.optimizer": "adamw", "space.lr": "0.002",
        "finals.seeds": "1", "finals.few_seeds_reason": "test",
        "resources.cluster": "local",
    }  # fmt: skip
    arguments = [part for name, value in changes.items() for part in ("--set", f"{name}={value}")]
    output = cnnbench("run", str(study_file), *arguments, folder=tmp_path)
    records = [json.loads(line) for line in (tmp_path / "results/image_folder/ledger.jsonl").read_text().splitlines()]
    final, again = [record for record in records if record["stage"] == "final" and record["control"] != "majority"]
    assert again["control"] == "a/a" and again["status"] == "completed", again["reason"]
    assert final["status"] == "completed", final["reason"]
    assert final["machine"]["workers"] == again["machine"]["workers"] == 2 and final["split"]["test"] == 16
    assert final["test"]["accuracy"] >= 0.9, output
    probed = json.loads((tmp_path / "results/image_folder/precision.json").read_text())["simple_cnn_w0.25"]
    assert len(probed["images_per_s"]) + len(probed["failures"]) == 4  # fp32 and bf16, in two layouts
    chosen = (probed["dtype"], probed["channels_last"])
    trained = [r["machine"] for r in records if r["family"] != "baseline"]
    assert len(trained) == 3 and {(each["precision"], each["channels_last"]) for each in trained} == {chosen}
