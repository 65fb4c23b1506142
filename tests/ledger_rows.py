"""Small TrialRecords for tests of what reads a ledger, and one whole invented study to look at."""

import math
import random
from typing import Any

from cnnbench.ledger import (
    Budget,
    ClassScore,
    ComponentUse,
    Cost,
    EpochPoint,
    Machine,
    Split,
    TestMetrics,
    TrialRecord,
)

CLASSES = ("0", "1")


def trial(row: str, index: int, score: float | None, **changes: Any) -> TrialRecord:
    """A search trial; ``changes`` replace fields of the record."""
    return _record(row, "search", index, **{"seed": index, "score": score, "stop_epoch": 2, **changes})


def final(row: str, seed: int, accuracy: float, **changes: Any) -> TrialRecord:
    """A completed final, scored on 100 test images of two classes."""
    return _record(row, "final", seed - 1000, **{"seed": seed, "test": scored(accuracy), "score": None, **changes})


def scored(accuracy: float, classes: tuple[str, ...] = CLASSES, images: int = 100) -> TestMetrics:
    """Test metrics where each class loses the same number of images to the next one."""
    support = images // len(classes)
    right = round(accuracy * support)
    confusion = [[0] * len(classes) for _ in classes]
    for number in range(len(classes)):
        confusion[number][number] = right
        confusion[number][(number + 1) % len(classes)] += support - right
    share = right / support
    per_class = tuple(
        ClassScore(name=name, precision=share, recall=share, f1=share, support=support) for name in classes
    )
    return TestMetrics(
        accuracy=accuracy, loss=1 - accuracy, per_class=per_class, confusion=tuple(map(tuple, confusion))
    )


def _record(row: str, stage: str, index: int, **changes: Any) -> TrialRecord:
    fields: dict[str, Any] = {
        "study": "tiny",
        "stage": stage,
        "trial_id": f"{row}-{stage}-{index}",
        "index": index,
        "row": row,
        "architecture": row,
        "year": 1998,
        "family": "classic",
        "options": {"width": 1.0},
        "components": {"activation": ComponentUse(value="relu", sites=4)},
        "hyperparameters": {"optimizer": "sgd", "lr": 0.1},
        "seed": 0,
        "split": Split(
            dataset="digits",
            train=80,
            validation=20 if stage == "search" else 0,
            test=100 if stage == "final" else None,
            seed=0,
            data_checksum="a" * 64,
            split_checksum="b" * 64,
        ),
        "budget": Budget(epochs_asked=2, epochs=2, images=160, device_seconds=1.5),
        "status": "completed",
        "score": None,
        "stop_epoch": None,
        "epochs": curve(2, 0.9, validation=stage == "search"),
        "test": None,
        "cost": Cost(params=1000, trainable_params=1000, macs=50_000, flops=100_000, size_mb=0.004, input=(1, 16, 16)),
        "machine": Machine(
            device="cpu: invented",
            workers=1,
            precision="fp32",
            channels_last=False,
            host_cpus=2,
            peak_memory_mb=300.0,
            python="3.11.2",
            versions={"torch": "2.15.0", "cnnbench": "0.1.0"},
        ),
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "started_utc": "2026-01-02T03:04:05Z",
        "finished_utc": "2026-01-02T03:04:06Z",
    }
    return TrialRecord.model_validate(fields | changes)


def curve(epochs: int, accuracy: float, *, validation: bool, speed: float = 3.0) -> tuple[EpochPoint, ...]:
    """Metrics that rise to ``accuracy`` exponentially."""
    points = []
    for epoch in range(1, epochs + 1):
        reached = accuracy - (accuracy - 0.1) * math.exp(-speed * epoch / epochs)
        held_out = {"val_loss": 2.2 * (1.02 - reached), "val_accuracy": reached} if validation else {}
        points.append(
            EpochPoint(
                epoch=epoch,
                train_loss=2.3 * (1.005 - reached),
                train_accuracy=reached,
                learning_rate=0.1,
                seconds=0.5,
                **held_out,
            )
        )
    return tuple(points)


# label, year, family, params, macs, mean accuracy, device-seconds a final
_INVENTED = (
    ("lenet5", 1998, "classic", 61_706, 416_520, 0.9720, 2.1),
    ("simple_cnn", 2015, "classic", 94_410, 3_812_000, 0.9862, 3.9),
    ("alexnet", 2012, "classic", 1_250_442, 9_431_000, 0.9789, 7.7),
    ("vgg11", 2014, "plain", 2_310_000, 38_200_000, 0.9871, 15.2),
    ("resnet20", 2015, "residual", 272_474, 40_810_000, 0.9905, 17.9),
    ("resnet18", 2015, "residual", 2_797_610, 34_900_000, 0.9911, 16.8),
    ("mobilenet_v2", 2018, "efficient", 543_210, 5_920_000, 0.9874, 11.4),
    ("shufflenet_v2", 2018, "efficient", 352_042, 2_930_000, 0.9823, 9.6),
    ("convnext_femto", 2022, "modern", 1_204_000, 21_300_000, 0.9838, 13.3),
)


def invented_study(epochs: int = 20, classes: int = 10) -> tuple[TrialRecord, ...]:
    """Nine ranked rows of invented but lifelike figures, one row whose trials all diverged, one without finals."""
    chance = random.Random(7)
    names = tuple(str(number) for number in range(classes))
    records = [record for facts in _INVENTED for record in _invented_row(facts, chance, epochs, names)]
    common = {"study": "invented", "family": "classic", "year": 2012}
    records += [
        trial("zfnet", n, None, status="diverged", reason=f"diverged at step {n + 7}", **common) for n in range(8)
    ]
    curves = {"epochs": curve(epochs, 0.93, validation=True)}
    records += [trial("squeezenet", n, 0.9 + n / 500, **{**common, **curves, "year": 2016}) for n in range(8)]
    return tuple(records)


def _invented_row(facts: Any, chance: random.Random, epochs: int, names: tuple[str, ...]) -> list[TrialRecord]:
    label, year, family, params, macs, accuracy, seconds = facts
    cost = Cost(
        params=params,
        trainable_params=params,
        macs=macs,
        flops=2 * macs,
        size_mb=params * 4e-6,
        input=(1, 16, 16),
    )
    activation = chance.choice(["relu", "mish", "silu", "gelu"])
    configuration = {
        "study": "invented",
        "year": year,
        "family": family,
        "cost": cost,
        "components": {
            "activation": ComponentUse(value=activation, sites=chance.randint(4, 33)),
            "normalization": ComponentUse(value="batch", sites=chance.randint(3, 21)),
            "window_pooling": ComponentUse(value="max", sites=0 if label == "resnet20" else 2),
        },
    }
    records = []
    for index in range(8):
        pruned = 0 < index < 4 and chance.random() < 0.6
        failed = index == 5 and chance.random() < 0.4
        reached = accuracy - 0.002 - 0.004 * abs(index - 6)
        ran = epochs // 4 if pruned else epochs
        records.append(
            trial(
                label,
                index,
                None if failed else reached,
                **configuration,
                status="failed" if failed else "pruned" if pruned else "completed",
                reason="the worker was killed (signal 9)" if failed else "",
                epochs=curve(ran, reached, validation=True, speed=4 + 3 * chance.random()),
                budget=Budget(
                    epochs_asked=epochs, epochs=ran, images=1200 * ran, device_seconds=seconds * ran / epochs
                ),
                hyperparameters=_hyperparameters(index),
            )
        )
    speed = 4 + 3 * chance.random()
    for seed in range(1000, 1006):
        reached = accuracy + chance.gauss(0, 0.0016)
        records.append(
            final(
                label,
                seed,
                0.0,
                **configuration,
                test=_uneven(reached, names, chance),
                epochs=curve(epochs, min(0.999, reached + 0.008), validation=False, speed=speed),
                budget=Budget(epochs_asked=epochs, epochs=epochs, images=1400 * epochs, device_seconds=seconds * 1.2),
                hyperparameters=_hyperparameters(6),
            )
        )
    return records


def _hyperparameters(index: int) -> dict[str, Any]:
    return {
        "optimizer": "sgd",
        "lr": 0.02 * (index + 1),
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "batch_size": 64,
        "schedule": "warmup_cosine",
        "warmup_epochs": 2,
        "label_smoothing": 0.05,
    }


def _uneven(accuracy: float, names: tuple[str, ...], chance: random.Random) -> TestMetrics:
    support = 36
    errors = round((1 - accuracy) * support * len(names))
    confusion = [[0] * len(names) for _ in names]
    for number in range(len(names)):
        confusion[number][number] = support
    for _ in range(errors):
        true = chance.randrange(len(names))
        called = (true + chance.choice([1, 2, 2, 5])) % len(names)
        confusion[true][true] -= 1
        confusion[true][called] += 1
    per_class = []
    for number, name in enumerate(names):
        called = sum(line[number] for line in confusion)
        precision, recall = confusion[number][number] / max(called, 1), confusion[number][number] / support
        f1 = 2 * precision * recall / max(precision + recall, 1e-9)
        per_class.append(ClassScore(name=name, precision=precision, recall=recall, f1=f1, support=support))
    return TestMetrics(
        accuracy=1 - errors / (support * len(names)),
        loss=1 - accuracy,
        per_class=tuple(per_class),
        confusion=tuple(map(tuple, confusion)),
    )
