"""The training loop, on one CPU worker."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import nn

from cnnbench.data.image_normalization import Normalization
from cnnbench.data.readers import DATASETS
from cnnbench.data.splits import stratified_split
from cnnbench.evaluation.evaluate import evaluate
from cnnbench.precision import COMBINATIONS
from cnnbench.training.loop import set_seed, train
from cnnbench.training.outcome import Diverged, EpochMetrics
from cnnbench.training.recipe import KNOBS, Recipe
from trainings import CPU, PLAIN, random_images, run, small_network, weights, without_seconds


def test_training_learns_handwritten_digits():
    digits = DATASETS["digits"].thing.load_train()
    kept, held = stratified_split(digits.labels, 0.2, seed=0)
    training, validation = digits.take(kept), digits.take(held)
    set_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10)
    )
    normalization = Normalization.of(training)
    recipe = Recipe(lr=0.1, batch_size=64)
    trained = train(
        network, training, validation, recipe, normalization=normalization, epochs=8, seed=0, device=CPU
    )  # fmt: skip
    assert trained.history[-1].val_accuracy > 0.93
    assert trained.history[-1].train_loss < 0.5 * trained.history[0].train_loss
    again = evaluate(network, validation, normalization=normalization, device=CPU)
    assert (again.loss, again.accuracy) == (trained.history[-1].val_loss, trained.history[-1].val_accuracy)
    assert trained.images == 8 * 64 * (len(training) // 64)


def test_one_seed_repeats_a_training_to_the_bit_and_another_does_not():
    recipe = dataclasses.replace(PLAIN, crop_padding=1, random_erasing=0.5)

    def result(seed: int) -> tuple[torch.Tensor, list[EpochMetrics]]:
        trained, network = run(recipe, small_network(dropout=0.3), seed=seed)
        return weights(network), without_seconds(trained.history)

    first, again, other = result(0), result(0), result(1)
    assert torch.equal(first[0], again[0]) and first[1] == again[1]
    assert not torch.equal(first[0], other[0])


# Knob → (recipe it is tried in, its other value). A knob that changes nothing is a bug.
KNOB_CHANGES: dict[str, tuple[dict[str, Any], Any]] = {
    "optimizer": ({}, "adam"),
    "lr": ({}, 0.06),
    "momentum": ({}, 0.5),
    "nesterov": ({}, True),
    "weight_decay": ({}, 0.01),
    "batch_size": ({}, 32),
    "accumulation_steps": ({}, 2),
    "schedule": ({}, "cosine"),
    "step_epochs": ({"schedule": "step", "step_epochs": 1}, 2),
    "gamma": ({"schedule": "step", "step_epochs": 1}, 0.5),
    "first_milestone": ({"schedule": "multi_step"}, 0.25),
    "second_milestone": ({"schedule": "multi_step"}, 0.6),
    "warmup_epochs": ({"schedule": "warmup_cosine"}, 2),
    "plateau_factor": ({"schedule": "plateau", "lr": 1e-9, "plateau_patience": 0}, 0.5),
    "plateau_patience": ({"schedule": "plateau", "lr": 1e-9}, 0),
    "pct_start": ({"schedule": "one_cycle"}, 0.5),
    "label_smoothing": ({}, 0.1),
    "clip_norm": ({}, 0.1),
    "clip_value": ({}, 0.01),
    "crop_padding": ({}, 1),
    "horizontal_flip": ({}, True),
    "random_erasing": ({}, 0.5),
    "cutout": ({}, 3),
    "vertical_flip": ({}, True),
    "resized_crop": ({}, 0.3),
    "rotation": ({}, 30.0),
    "translation": ({}, 0.3),
    "scaling": ({}, 0.3),
    "shear": ({}, 30.0),
    "color_jitter": ({}, 0.4),
    "mixup": ({}, 0.2),
    "cutmix": ({}, 1.0),
    "ema_decay": ({}, 0.9),
    "early_stopping_patience": ({"early_stopping_min_delta": 1.0}, 1),
    "early_stopping_min_delta": ({"early_stopping_patience": 2}, 1.0),
}


@pytest.mark.parametrize("knob", KNOBS)
def test_every_knob_of_the_recipe_has_an_effect(knob):
    base, value = KNOB_CHANGES[knob]
    recipe = dataclasses.replace(PLAIN, **base)
    assert getattr(recipe, knob) != value
    changed = dataclasses.replace(recipe, **{knob: value})
    results = [run(each, small_network(), epochs=4) for each in (recipe, changed)]
    assert not torch.equal(*(weights(network) for _, network in results)) or (
        len(results[0][0].history) != len(results[1][0].history)
        or results[0][0].history[-1].learning_rate != results[1][0].history[-1].learning_rate
    )


def test_stop_epoch_ends_a_training_on_the_schedule_of_the_full_one():
    recipe = dataclasses.replace(PLAIN, schedule="cosine")
    full, _ = run(recipe, epochs=6)
    stopped, _ = run(recipe, epochs=6, stop_epoch=2)
    assert without_seconds(stopped.history) == without_seconds(full.history[:2])
    assert not stopped.stopped_early and stopped.best_epoch in (1, 2)
    with pytest.raises(ValueError, match="stop_epoch: 7; choose a whole number from 1 to epochs"):
        run(recipe, epochs=6, stop_epoch=7)


def test_early_stopping_ends_a_training_that_no_longer_improves():
    recipe = dataclasses.replace(PLAIN, lr=1e-9, early_stopping_patience=3)
    trained, _ = run(recipe, epochs=20)
    assert len(trained.history) == 4 and trained.stopped_early and trained.best_epoch == 1
    with pytest.raises(ValueError, match="early_stopping_patience: needs validation images"):
        run(recipe, validation=None)
    assert len(run(recipe, validation=None, stop_epoch=2)[0].history) == 2


def test_a_diverged_training_ends_at_its_step():
    with pytest.raises(Diverged, match=r"diverged at step \d+ .epoch 1."):
        run(dataclasses.replace(PLAIN, lr=1e25))


def test_a_loss_that_is_not_finite_is_seen_at_once():
    network = small_network()
    with torch.no_grad():
        network[5].bias[0] = math.nan
    with pytest.raises(Diverged) as caught:
        run(PLAIN, network)
    assert (caught.value.epoch, caught.value.step) == (1, 1)


def test_weights_that_explode_in_the_last_step_are_seen_without_validation_images():
    recipe = dataclasses.replace(PLAIN, lr=1e38, batch_size=64, momentum=0.0, weight_decay=100.0)
    with pytest.raises(Diverged) as caught:
        run(recipe, epochs=1, validation=None)
    assert caught.value.step == 1


def test_validation_loss_has_no_label_smoothing_and_training_loss_has():
    recipe = dataclasses.replace(PLAIN, lr=1e-12, label_smoothing=0.9)
    network = small_network()
    with torch.no_grad():
        network[5].weight.mul_(20.0)  # confident, so that smoothing costs
    trained, network = run(recipe, network, epochs=1)
    validation = random_images(40, seed=1)
    alone = evaluate(network, validation, normalization=Normalization.of(random_images(64)), device=CPU)
    assert trained.history[0].val_loss == alone.loss
    plain, _ = run(dataclasses.replace(recipe, label_smoothing=0.0), small_network(), epochs=1)
    assert plain.history[0].train_loss != pytest.approx(trained.history[0].train_loss, rel=0.1)


def test_accumulated_gradients_of_two_batches_equal_those_of_one_twice_as_large():
    whole, half = small_network(), small_network()
    run(dataclasses.replace(PLAIN, batch_size=64), whole, epochs=2)
    run(dataclasses.replace(PLAIN, batch_size=32, accumulation_steps=2), half, epochs=2)
    assert torch.allclose(weights(whole), weights(half), atol=1e-6)


def test_a_last_group_of_fewer_batches_is_averaged_over_those_it_has():
    whole, groups = small_network(), small_network()
    run(dataclasses.replace(PLAIN, batch_size=64), whole, epochs=1)
    run(dataclasses.replace(PLAIN, batch_size=32, accumulation_steps=5), groups, epochs=1)
    assert torch.allclose(weights(whole), weights(groups), atol=1e-6)


def test_bf16_and_channels_last_train_close_to_fp32():
    plain, _ = run(PLAIN)
    for precision in COMBINATIONS[1:]:
        other, network = run(PLAIN, precision=precision)
        assert other.history[-1].val_loss == pytest.approx(plain.history[-1].val_loss, rel=0.05)
        assert all(parameter.dtype == torch.float32 for parameter in network.parameters())


def test_best_weights_are_those_of_the_best_epoch(tmp_path):
    from cnnbench.training.weights import load_weights

    file = tmp_path / "best.pt"
    trained, _ = run(dataclasses.replace(PLAIN, lr=0.3), epochs=6, best_weights=file)
    network = small_network(seed=9)
    load_weights(network, file)
    again = evaluate(network, random_images(40, seed=1), normalization=Normalization.of(random_images(64)), device=CPU)
    assert again.accuracy == max(metrics.val_accuracy for metrics in trained.history)
    assert again.loss == trained.history[trained.best_epoch - 1].val_loss
