"""Bad input: one error that names every fault, before anything starts."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from cnnbench.commands.cli import app

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(600)]

STUDY: Mapping[str, Any] = {
    "study": "small",
    "data": {"dataset": "digits", "image_size": 16},
    "architectures": ["lenet5"],
    "budget": {"trials": 2, "epochs": 2},
    "finals": {"seeds": 6},
    "search": {"sampler": "tpe"},
    "resources": {"cpus": 1.0},
}
WRONG: Mapping[str, list[Any]] = {
    "study": ["../up", "", 7, "a b"],
    "data.dataset": ["digit", None, 3],
    "data.image_size": [0, -16, "16", 16.5, True, None],
    "data.validation_fraction": [0.0, 1.0, -0.1, float("nan"), "0.1"],
    "architectures": [[], "lenet5", ["lenet6"]],
    "budget.trials": [0, -1, 1.5, "2", float("inf")],
    "budget.epochs": [0, None, []],
    "finals.seeds": [0, -6, 3, "six"],
    "search.sampler": ["tpee", 1, None],
    "resources.cpus": [0, -1.0, float("nan"), "one"],
    "precision": ["fp16", 32],
    "budgets": [{}, 1],  # no such field
}


@st.composite
def mutations(draw: st.DrawFn) -> dict[str, Any]:
    """One to four fields, each with a wrong value."""
    fields = draw(st.lists(st.sampled_from(sorted(WRONG)), min_size=1, max_size=4, unique=True))
    return {field: draw(st.sampled_from(WRONG[field])) for field in fields}


def refused(file: Path) -> str:
    """What ``cnnbench run`` says to a file that it refuses with exit code 2, before Ray starts."""
    result = CliRunner().invoke(app, ["run", str(file)])
    assert result.exit_code == 2, result.output
    assert not ray.is_initialized() and "Traceback" not in result.output
    return result.output


def mutated(mutation: Mapping[str, Any]) -> str:
    tree = {key: dict(part) if isinstance(part, dict) else part for key, part in STUDY.items()}
    for field, value in mutation.items():
        section, _, name = field.partition(".")
        if name:
            tree[section][name] = value
        else:
            tree[section] = value
    return yaml.safe_dump(tree)


def test_every_error_of_a_bad_study_file_is_named_with_its_field(tmp_path, monkeypatch, tell):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "study.yaml"
    tried = 0

    @settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(mutation=mutations())
    def check(mutation: dict[str, Any]) -> None:
        nonlocal tried
        tried += 1
        file.write_text(mutated(mutation))
        output = refused(file)
        for field in mutation:
            assert re.search(rf"^{re.escape(str(file))}: {re.escape(field)}\b", output, re.MULTILINE), output

    check()
    assert tried >= 50 and sorted(tmp_path.iterdir()) == [file]
    tell(
        "bad study file",
        done=f"{len(WRONG)} fields, one to four at once, set to values of a wrong kind or range, by hypothesis",
        saw="a line for each wrong field, with its name and what is allowed; exit code 2, Ray not started",
    )


def image(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (16, 16), shade).save(path)


@pytest.mark.parametrize("fault", ["empty class folder", "one class", "corrupt image"])
def test_images_that_can_not_be_used_are_named_before_the_search(tmp_path, monkeypatch, tell, fault):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "images"
    for shade in range(8):
        for name in ("cat", "dog"):
            image(root / "train" / name / f"{shade}.png", 20 * shade)
    if fault == "empty class folder":
        for path in (root / "train" / "dog").iterdir():
            path.unlink()
        words, done = r"train/dog: empty; wants images", "a class folder without an image"
    elif fault == "one class":
        for path in [*(root / "train" / "dog").iterdir(), root / "train" / "dog"]:
            path.unlink() if path.is_file() else path.rmdir()
        words, done = r"wants at least two class folders, has only 'cat'", "a single class folder"
    else:
        for name in ("cat/3.png", "dog/5.png"):
            whole = (root / "train" / name).read_bytes()
            (root / "train" / name).write_bytes(whole[: len(whole) // 2])
        words, done = r"2 faults: .*train/cat/3.png: .*; .*train/dog/5.png: ", "two images cut off in their middle"
    file = tmp_path / "study.yaml"
    tree = {**STUDY, "data": {"dataset": "image_folder", "root": str(root), "image_size": 16}}
    file.write_text(yaml.safe_dump(tree))
    output = refused(file)
    assert re.search(words, output), output
    assert not list((tmp_path / "results").rglob("*")) if (tmp_path / "results").exists() else True
    saw = {
        "empty class folder": "“train/dog: empty; wants images (.jpg .jpeg …)”; exit code 2, Ray not started",
        "one class": "“wants at least two class folders, has only 'cat'”; exit code 2, Ray not started",
        "corrupt image": "“2 faults: …”, with each file and what is wrong with it; exit code 2, Ray not started",
    }[fault]
    tell(fault, done=done, saw=saw)
