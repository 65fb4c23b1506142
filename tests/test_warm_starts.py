"""What a search tries first: the recipe's defaults, and a higher learning rate with the weight decay for its epochs."""

from pathlib import Path

import pytest
import torch
from torch import nn

from cnnbench.components import is_normalized
from cnnbench.networks.build import build
from cnnbench.networks.spec import NetworkSpec
from cnnbench.protocol.plan import plan_rows
from cnnbench.search.search import StudySearch
from cnnbench.search.warm_starts import suitable_weight_decay, warm_starts
from cnnbench.study import Search as Settings
from cnnbench.study import parse
from cnnbench.study.space import Choice, Fixed, FloatRange, IntRange
from cnnbench.trial.study_images import open_sources
from cnnbench.vocabulary import vocabulary
from cnnbench.workflows.study import search_of

USUAL = {
    "optimizer": Choice(
        {"adamw": {"lr": FloatRange(1e-4, 1e-2, log=True)}, "sgd": {"lr": FloatRange(0.01, 1.0, log=True)}}
    ),
    "schedule": Choice({"one_cycle": {"pct_start": FloatRange(0.2, 0.4)}, "constant": {}}),
    "momentum": FloatRange(0.95, 0.99),
    "batch_size": IntRange(16, 64, step=16),
    "activation": Choice({"relu": {}, "original": {}}),
    "crop_padding": Fixed(2),
}
CIFAR = 200 * 50_000  # images that a training sees, for which the recipe's weight decay is the usual one


def ask(folder: Path, space, trials: int, proposals: int, **more) -> list[dict]:
    searching = StudySearch(Settings(), trials, {"a": space}, folder / "optuna.journal", **more)
    return [dict(searching.ask().values) for _ in range(proposals)]


def test_the_first_trial_is_the_recipes_default_as_far_as_the_space_has_it(tmp_path):
    """Else the first option and the middle: warmup_cosine is not there, and the usual momentum and batch are not in
    their ranges."""
    (first,) = ask(tmp_path / "1", USUAL, 8, 1)
    assert first == {
        "optimizer": "sgd", "lr": 0.1, "schedule": "one_cycle", "pct_start": 0.3, "momentum": pytest.approx(0.97),
        "batch_size": 48, "activation": "original", "crop_padding": 2,
    }  # fmt: skip
    cold = StudySearch(Settings(warm_start=False), 8, {"a": USUAL}, tmp_path / "2" / "optuna.journal")
    assert cold.ask().values != first


def test_the_next_trial_is_the_same_at_a_higher_learning_rate(tmp_path):
    """Where two are no more than a third of the trials."""
    first, higher, drawn = ask(tmp_path / "1", USUAL, 6, 3)
    assert (first["lr"], higher["lr"]) == pytest.approx((0.1, 0.3))
    assert {**higher, "lr": 0.1} == first != {**drawn, "lr": 0.1}
    assert ask(tmp_path / "few", USUAL, 5, 2)[1] != higher
    assert ask(tmp_path / "fewest", USUAL, 2, 2)[0] == first


def test_they_are_no_more_than_a_third_of_the_whole_trials_that_the_images_pay_for(tmp_path):
    starts = warm_starts(USUAL, 1000, normalized=True)
    enough, too_few = ({"trial_images": 1000, "limit": ("images", amount)} for amount in (6000.0, 5999.0))
    assert ask(tmp_path / "1", USUAL, 50, 2, **enough) == starts
    assert ask(tmp_path / "2", USUAL, 50, 2, **too_few)[1] not in starts


def test_a_range_bounds_it_and_none_is_tried_twice():
    narrow = {"lr": FloatRange(0.05, 0.2), "weight_decay": FloatRange(1e-4, 1e-3)}
    assert warm_starts(narrow, CIFAR // 100, normalized=True) == [
        {"lr": 0.1, "weight_decay": 5e-4},
        {"lr": 0.2, "weight_decay": 1e-3},
    ]
    assert warm_starts({"lr": FloatRange(0.05, 0.1)}, normalized=True) == [{"lr": 0.1}]
    fixed = {"lr": Fixed(0.2), "momentum": FloatRange(0.0, 0.99), "weight_decay": Fixed(0.01)}
    assert warm_starts(fixed, CIFAR // 100, normalized=True) == [{"lr": 0.2, "momentum": 0.9, "weight_decay": 0.01}]


def test_the_usual_weight_decay_is_that_of_two_hundred_epochs_on_cifar():
    """And goes by the root of the optimizer's steps: arXiv:1711.05101, appendix B.1."""
    assert suitable_weight_decay(CIFAR, {}) == 5e-4
    assert suitable_weight_decay(CIFAR // 100, {}) == pytest.approx(5e-3)
    assert suitable_weight_decay(CIFAR // 100, {"batch_size": 32}) == pytest.approx(2.5e-3)
    assert suitable_weight_decay(CIFAR // 100, {"batch_size": 32, "accumulation_steps": 16}) == pytest.approx(1e-2)


def test_the_higher_learning_rate_comes_with_the_weight_decay_for_so_few_images():
    space = {**USUAL, "weight_decay": FloatRange(1e-5, 0.1, log=True)}
    first, second = warm_starts(space, CIFAR // 100, normalized=True)
    decay = suitable_weight_decay(CIFAR // 100, {"batch_size": 48})
    assert (first["weight_decay"], second["weight_decay"]) == (5e-4, decay)
    assert {**second, "weight_decay": 5e-4, "lr": 0.1} == first
    nested = {"optimizer": Choice({"sgd": {"weight_decay": FloatRange(1e-5, 1e-3)}})}
    assert [start["weight_decay"] for start in warm_starts(nested, CIFAR // 100, normalized=True)] == [5e-4, 1e-3]


def test_a_network_without_normalisations_keeps_its_usual_weight_decay():
    space = {"lr": FloatRange(0.01, 1.0), "weight_decay": FloatRange(1e-5, 0.1, log=True)}
    decays = []
    for component in ("original", "batch", "none"):
        chosen = {**space, "normalization": Fixed(component)}
        for normalized in (True, False):
            first, second = warm_starts(chosen, CIFAR // 100, normalized=normalized)
            assert (first["weight_decay"], second["lr"]) == (5e-4, pytest.approx(0.3))
            decays.append(second["weight_decay"])
    assert decays == pytest.approx([5e-3, 5e-4, 5e-3, 5e-3, 5e-4, 5e-4])


@pytest.mark.parametrize(
    ("name", "normalized"),
    [("lenet5", False), ("alexnet", False), ("vgg11", False), ("vgg11_bn", True), ("convnext_tiny", True)],
)
def test_a_network_is_asked_whether_it_has_normalisations(name, normalized):
    with torch.device("meta"):
        plain, _ = build(NetworkSpec(name, classes=10, channels=3, image_size=32))
    assert is_normalized(plain) is normalized


def test_local_response_normalisation_keeps_the_scale_and_is_none():
    assert not is_normalized(nn.Sequential(nn.Conv2d(3, 8, 3), nn.LocalResponseNorm(5)))
    assert is_normalized(nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8)))


def test_a_studys_search_goes_by_its_own_epochs_and_training_images(tmp_path):
    study = parse(
        f"""
study: short
storage: {tmp_path}
data: {{dataset: digits, image_size: 12}}
architectures: [resnet20, lenet5]
space: {{lr: {{float: [0.01, 1.0]}}, weight_decay: {{float: [1.0e-5, 0.1], log: true}}, batch_size: 64}}
budget: {{trials: 6, epochs: 3}}
""",
        vocabulary(),
    )
    material = open_sources(study.data).for_search()
    searching = search_of(study, plan_rows(study, channels=1, classes=10), material, ())
    asked = [searching.ask() for _ in range(4)]
    suitable = 5e-4 * (78_125 / (3 * len(material.train_labels) / 64)) ** 0.5
    assert [(each.row, each.values["weight_decay"]) for each in asked] == [
        ("resnet20", 5e-4), ("lenet5", 5e-4), ("resnet20", pytest.approx(suitable)), ("lenet5", 5e-4),
    ]  # fmt: skip
