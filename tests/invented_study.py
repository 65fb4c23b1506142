"""One whole invented study of lifelike figures, to look at."""

import random
from typing import Any

from cnnbench.ledger import BudgetSpent, ClassScore, ComponentUse, Cost, TestMetrics, TrialRecord
from ledger_rows import again, curve, final, majority, scored, trial

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
    """Nine ranked rows of invented but lifelike figures, one row whose trials all diverged, one without finals, and the
    controls."""
    chance = random.Random(7)
    names = tuple(str(number) for number in range(classes))
    records = [record for facts in _INVENTED for record in _invented_row(facts, chance, epochs, names)]
    common = {"study": "invented", "family": "classic", "year": 2012}
    records += [
        trial("zfnet", n, None, status="diverged", reason=f"diverged at step {n + 7}", **common) for n in range(8)
    ]
    curves = {"epochs": curve(epochs, 0.93, validation=True)}
    best = [record for record in records if record.row == "resnet18" and record.stage == "final"]
    records += [
        again(record, 0.0).model_copy(update={"test": _uneven(0.9890 + chance.gauss(0, 0.0016), names, chance)})
        for record in best
    ]
    records.append(majority(0.1, study="invented", test=scored(0.1, names, images=360)))
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
                budget=BudgetSpent(
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
                budget=BudgetSpent(
                    epochs_asked=epochs, epochs=epochs, images=1400 * epochs, device_seconds=seconds * 1.2
                ),
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
