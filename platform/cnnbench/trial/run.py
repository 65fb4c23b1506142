"""One trial, in its own process: it builds a network, trains and scores it, and reports."""

import logging
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from cnnbench.data.batches import images_from_arrays
from cnnbench.data.images import Images
from cnnbench.data.seeds import derived_seed
from cnnbench.evaluation.evaluate import evaluate
from cnnbench.evaluation.metrics import class_scores
from cnnbench.networks import cost
from cnnbench.networks.build import build
from cnnbench.precision import Precision
from cnnbench.ranks import Ranks
from cnnbench.training.allocator import keep_freed_memory
from cnnbench.training.loop import set_seed, train
from cnnbench.training.outcome import Diverged, EpochMetrics
from cnnbench.training.recipe import Recipe
from cnnbench.training.repeatable import make_repeatable
from cnnbench.trial import machine
from cnnbench.trial.images import TrialImages
from cnnbench.trial.remote_checkpoint import checkpoint_at
from cnnbench.trial.spec import TrialSpec, payload

log = logging.getLogger(__name__)
Report = Callable[[dict[str, str]], None]


_placed: dict[str, tuple[Images, Images]] = {}  # a warm process keeps its images, on the device, between trials


def _images(material: TrialImages, device: torch.device) -> tuple[Images, Images]:
    key = f"{material.split.model_dump_json()}/{device}"
    if key not in _placed:
        _placed.clear()
        pairs = ((material.train_pixels, material.train_labels), (material.held_pixels, material.held_labels))
        first, second = (images_from_arrays(pixels, labels, material.classes) for pixels, labels in pairs)
        _placed[key] = (first, second)
    return _placed[key]


def run_trial(spec: TrialSpec, material: TrialImages, device: torch.device, report: Report) -> None:
    """Runs one trial to its end and reports: each epoch, and ``end`` with the status, which the last of all epochs
    comes with where no test is left to do. Any error that is not Diverged is raised; it scores on the validation
    images, or, as a final does, on the test images, once, at its end."""
    torch.set_num_threads(max(1, int(spec.cpus)))
    keep_freed_memory()
    repeats = make_repeatable(device, spec.workers)
    training, held = _images(material, device)
    recipe = Recipe(**spec.hyperparameters)  # type: ignore[arg-type]
    precision = Precision(spec.precision, spec.channels_last)  # type: ignore[arg-type]
    set_seed(derived_seed(spec.seed, "weights"))
    shape = spec.network.image
    built, sites = build(spec.network)
    facts = {
        "cost": asdict(cost.measure(built, shape)),
        "stem": sites.stem,
        "components": {kind: {"value": use.value, "sites": use.sites} for kind, use in sites.components.items()},
        "machine": {
            "device": machine.device_name(device.type), "workers": spec.workers, "precision": spec.precision,
            "channels_last": spec.channels_last, "host_cpus": machine.host_cpus(),
            "python": sys.version.split()[0], "versions": machine.versions(), "lock": machine.lock(),
            "repeats": repeats,
        },
    }  # fmt: skip

    checkpoint = checkpoint_at(spec.checkpoint, spec.checkpoint_every_s)
    noted = 0

    def say(event: str, **content: Any) -> None:
        nonlocal noted
        notes, noted = checkpoint.notes[noted:], len(checkpoint.notes)
        report(payload(event, facts=facts, notes=notes, **content))

    end: dict[str, Any] = {"status": "completed", "reason": ""}

    def on_epoch(metrics: EpochMetrics) -> None:
        point = asdict(metrics)
        trained = {"point": point, "images": point.pop("images")}
        if spec.on_validation and metrics.epoch == spec.epochs:
            end.update(trained)  # nothing is left to do: a report less for the driver, whose time they are
        else:
            say("epoch", peak_memory_mb=machine.peak_memory_mb(device), **trained)

    try:
        train(
            built, training, held if spec.on_validation else None, recipe,
            normalization=material.normalization, epochs=spec.epochs, stop_epoch=spec.stop_epoch,
            seed=spec.seed, device=device, precision=precision, on_epoch=on_epoch,
            on_restored=on_epoch,  # a driver that was started again has heard of none
            checkpoint=checkpoint,
        )  # fmt: skip
        if not spec.on_validation:
            end["test"] = _test(built, held, material, device, precision)
    except Diverged as error:
        end.update(status="diverged", reason=str(error))
    peak_memory_mb = machine.peak_memory_mb(device)  # of the training: measuring speed starts a new count
    if "test" in end and spec.stage == "final":
        end["speed"] = _speed(built, shape, device, precision)
    say("end", peak_memory_mb=peak_memory_mb, **end)


def _test(
    built: torch.nn.Module, held: Images, material: TrialImages, device: torch.device, precision: Precision
) -> dict[str, Any]:
    result = evaluate(
        built, held, normalization=material.normalization, device=device, precision=precision, ranks=Ranks.current()
    )
    return {
        "accuracy": result.accuracy,
        "loss": result.loss,
        "per_class": [asdict(score) for score in class_scores(result.confusion, material.classes)],
        "confusion": result.confusion.tolist(),
    }


def _speed(
    built: torch.nn.Module, shape: tuple[int, int, int], device: torch.device, precision: Precision
) -> dict[str, Any] | None:
    """Measured by the first rank, while the others wait. None if it fails: the final itself has its result."""
    ranks = Ranks.current()
    measured: dict[str, Any] | None = None
    if ranks.rank == 0:
        try:
            with precision.autocast(device):
                measured = asdict(cost.speed(built, shape, device, layout=precision.layout, seconds=0.5))
        except RuntimeError:  # such as out of memory
            log.exception("the speed of %s", type(built).__name__)
    return ranks.from_first(measured, device)


def explain(error: BaseException) -> tuple[str, str]:
    """An error's ledger status and reason. Run again it would come again, so such a trial has no retry."""
    text = f"{type(error).__name__}: {error}".strip()
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "out of memory" in text.lower():
        return "out-of-memory", f"{text.splitlines()[0][:300]}; try a smaller batch_size, or fewer trials a device"
    return "failed", text.splitlines()[0][:300]
