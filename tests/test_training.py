"""The training loop and its parts, on one CPU worker and on two."""

import dataclasses
import math
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from torch import nn

from cnnbench.data.datasets import DATASETS
from cnnbench.data.images import Images
from cnnbench.data.normalization import Normalization
from cnnbench.data.splits import stratified_split
from cnnbench.evaluation.evaluate import evaluate
from cnnbench.precision import COMBINATIONS, Precision
from cnnbench.training.loop import set_seed, train
from cnnbench.training.optimizers import build_optimizer, clip_gradients
from cnnbench.training.outcome import Diverged, EpochMetrics, Trained
from cnnbench.training.probe import probe
from cnnbench.training.recipe import KNOBS, Recipe
from cnnbench.training.schedules import learning_rate, plateaus, stops_early

CPU = torch.device("cpu")


def random_images(count: int, seed: int = 0, size: int = 6) -> Images:
    """Noise whose class is the brightest of three columns: learnable, but not at once."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 200, (count, 1, size, size), generator=generator)
    labels = torch.randint(0, 3, (count,), generator=generator)
    pixels[torch.arange(count), :, :, labels * 2] += 55
    return Images(pixels.to(torch.uint8), labels, ("left", "middle", "right"))


def small_network(seed: int = 0, dropout: float = 0.0, norm: bool = False) -> nn.Module:
    set_seed(seed)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4) if norm else nn.Identity(), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(144, 3))


def run(recipe: Recipe, network: nn.Module | None = None, epochs: int = 3, **options: Any) -> tuple[Trained, nn.Module]:
    network = network or small_network()
    training = random_images(64)
    given: dict[str, Any] = {"validation": random_images(40, seed=1), "seed": 0, "device": CPU, **options}
    trained = train(network, training, recipe=recipe, normalization=Normalization.of(training), epochs=epochs, **given)
    return trained, network


def weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def without_seconds(history: tuple[EpochMetrics, ...]) -> list[EpochMetrics]:
    return [dataclasses.replace(metrics, seconds=0.0) for metrics in history]


PLAIN = Recipe(lr=0.05, momentum=0.9, batch_size=16, schedule="constant", weight_decay=0.0)


# The loop as a whole


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


# Several workers


SHARED = dataclasses.replace(PLAIN, accumulation_steps=2, crop_padding=1, schedule="cosine", clip_norm=1.0)
SHARED = dataclasses.replace(SHARED, batch_size=15)  # of which one worker has 8 images, the other 7


def _worker(rank: int, size: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    results: dict[str, Any] = {}
    for name, norm in (("plain", False), ("norm", True)):
        trained, network = run(SHARED, small_network(norm=norm))
        rows = [dataclasses.astuple(metrics)[:-1] for metrics in trained.history]  # without the seconds
        results[name] = {"history": rows, "weights": network.state_dict()}
    with pytest.raises(Diverged) as caught:
        run(dataclasses.replace(SHARED, lr=1e30, clip_norm=None))
    results["diverged"] = str(caught.value)
    torch.save(results, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two DDP workers (gloo) got: a plain network, one with batch normalisation, one that diverges."""
    folder = tmp_path_factory.mktemp("workers")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_worker, (2, port, folder), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_two_workers_have_the_loss_curve_of_one_with_the_same_global_batch(two_workers):
    alone, network = run(SHARED)
    for worker in two_workers:
        for mine, other in zip(alone.history, worker["plain"]["history"], strict=True):
            assert other == pytest.approx(dataclasses.astuple(mine)[:-1], abs=1e-5)
        for name, tensor in network.state_dict().items():
            assert torch.allclose(worker["plain"]["weights"][name], tensor, atol=1e-5)


def test_two_workers_end_with_the_same_weights_running_statistics_and_metrics(two_workers):
    first, second = (worker["norm"] for worker in two_workers)
    assert first["history"] == second["history"]
    assert first["weights"].keys() == small_network(norm=True).state_dict().keys()
    for name, tensor in first["weights"].items():
        assert torch.equal(tensor, second["weights"][name]), name


def test_two_workers_diverge_together(two_workers):
    assert two_workers[0]["diverged"] == two_workers[1]["diverged"] and "diverged at step" in two_workers[0]["diverged"]


# Optimizers, schedules, early stopping


@pytest.mark.parametrize("name", KNOBS["optimizer"].choices)
def test_weight_decay_spares_norms_and_biases(name):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.PReLU(), nn.Flatten(), nn.Linear(2, 2))
    optimizer = build_optimizer(network, Recipe(optimizer=name, lr=0.1, weight_decay=0.5))
    before = [parameter.clone() for parameter in network.parameters()]
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for parameter, old in zip(network.parameters(), before, strict=True):
        assert torch.equal(parameter, old) == (parameter.ndim == 1)


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(ValueError, match="nesterov: needs a momentum above 0"):
        build_optimizer(nn.Linear(1, 1), Recipe(nesterov=True, momentum=0.0))


def test_gradients_are_clipped_by_value_then_by_norm():
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, -40.0])
    clip_gradients([parameter], Recipe(clip_value=4.0))
    assert parameter.grad.tolist() == [3.0, -4.0]
    clip_gradients([parameter], Recipe(clip_norm=1.0))
    assert parameter.grad.tolist() == pytest.approx([0.6, -0.8], abs=1e-5)


EPOCHS, STEPS = 12, 5  # steps an epoch
SGD = torch.optim.lr_scheduler


def oracle_rates(make: Any, per_step: bool) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.4)
    scheduler, rates = make(optimizer), []
    for step in range(EPOCHS * STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if per_step or (step + 1) % STEPS == 0:
            scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("recipe", "make", "per_step"),
    [
        (Recipe(lr=0.4, schedule="constant"), lambda o: SGD.ConstantLR(o, factor=1.0), True),
        (Recipe(lr=0.4, schedule="step", step_epochs=5, gamma=0.3), lambda o: SGD.StepLR(o, 5, 0.3), False),
        (Recipe(lr=0.4, schedule="multi_step", gamma=0.3), lambda o: SGD.MultiStepLR(o, [6, 9], 0.3), False),
        (Recipe(lr=0.4, schedule="cosine"), lambda o: SGD.CosineAnnealingLR(o, EPOCHS * STEPS), True),
        (
            Recipe(lr=0.4, schedule="one_cycle", pct_start=0.25),
            lambda o: SGD.OneCycleLR(o, 0.4, EPOCHS * STEPS, pct_start=0.25, cycle_momentum=False),
            True,
        ),
        (
            Recipe(lr=0.4, schedule="warmup_cosine", warmup_epochs=2),
            lambda o: SGD.SequentialLR(
                o,
                [SGD.LinearLR(o, 0.1, 1.0, 9), SGD.CosineAnnealingLR(o, EPOCHS * STEPS - 10)],
                [10],
            ),
            True,
        ),
    ],
    ids=lambda value: value.schedule if isinstance(value, Recipe) else "",
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_schedules_are_torchs(recipe, make, per_step):
    rates = [learning_rate(recipe, step, STEPS, EPOCHS) for step in range(EPOCHS * STEPS)]
    assert rates == pytest.approx(oracle_rates(make, per_step), rel=1e-6)


def test_the_plateau_schedule_is_torchs():
    losses = [1.0, 0.9, 0.91, 0.9, 0.89999, 0.8, 0.81, 0.82, 0.83, 0.84, 0.79, 0.79, 0.79]
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 1.0)
    scheduler = SGD.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    for count, loss in enumerate(losses, 1):
        scheduler.step(loss)
        assert 0.5 ** plateaus(losses[:count], patience=1) == optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize("schedule", KNOBS["schedule"].choices)
@pytest.mark.parametrize("epochs", [1, 2, 7])
def test_no_schedule_leaves_its_range_however_short_the_training(schedule, epochs):
    recipe = Recipe(lr=0.4, schedule=schedule, warmup_epochs=5, pct_start=0.01)
    for steps in (1, 2, 9):
        rates = [learning_rate(recipe, step, steps, epochs) for step in range(steps * epochs)]
        assert all(0.0 < rate <= 0.4 for rate in rates)


def test_patience_counts_epochs_without_an_improvement_of_more_than_the_minimum():
    assert not stops_early([0.5, 0.6, 0.6, 0.61], patience=3, min_delta=0.0)
    assert stops_early([0.5, 0.6, 0.6, 0.61, 0.62], patience=3, min_delta=0.05)
    assert not stops_early([0.5, 0.6, 0.6, 0.61, 0.66], patience=3, min_delta=0.05)


# Precision


def test_the_probe_measures_four_combinations_and_leaves_the_random_state():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    result = probe(small_network, (1, 6, 6), 8, CPU, steps=2)
    assert torch.equal(before, torch.get_rng_state())
    assert set(result.images_per_s) == set(COMBINATIONS) and min(result.images_per_s.values()) > 0
    fastest = max(result.images_per_s.values())
    assert result.images_per_s[result.precision] * 1.05 >= fastest
    assert result.precision == next(c for c in COMBINATIONS if result.images_per_s[c] * 1.05 >= fastest)


class OnlyFp32(nn.Module):
    """Fails under autocast, as an operator without a bf16 kernel does."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("no kernel for bf16")
        return self.linear(inputs.flatten(1))


def test_the_probe_passes_over_a_combination_that_fails():
    result = probe(OnlyFp32, (1, 2, 2), 4, CPU, steps=1)
    assert set(result.images_per_s) == {Precision(), Precision("fp32", True)}
    assert set(result.failures.values()) == {"no kernel for bf16"} and len(result.failures) == 2
    assert result.precision.dtype == "fp32"
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        probe(OnlyFp32, (1, 3, 3), 4, CPU, steps=1)
