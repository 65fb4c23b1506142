"""What a study will cost, from the images per second that a probe found: device-hours, and money at a price."""

import json
import math
from collections.abc import Mapping
from typing import Any

from cnnbench.study import Study
from cnnbench.trial.images import TrialImages
from cnnbench.whole_file import write_whole

EVALUATION_SHARE = 1 / 3  # of a training step's time, that a forward pass takes


def predict(study: Study, rates: Mapping[str, float | None], train: int, held: int) -> dict[str, Any]:
    """Plain values, as ``prediction.json`` has them; hours are those of one worker's device, times workers.

    rates: row → images per second of training, of the original network; None where that is not known, and such a row
    is "unknown": it has no prediction, and no part in the sums. train, held: training and validation images.
    Every trial counts in full: what pruning and early stopping leave unspent can't be foreseen, nor which row will be
    best and run again as the A/A control, for which the slowest one stands. The probe's steps are the fastest there
    can be; small batches, augmentation, slower components and other processes on the machine take more.
    """
    epochs, trials, seeds = study.budget.epochs, study.budget.trials, study.finals.seeds
    trained = min(trials * epochs * train, study.budget.images or math.inf)
    search_images = trained * (1 + EVALUATION_SHARE * held / train)
    most_hours = (study.budget.device_seconds or math.inf) / 3600
    final_images = seeds * epochs * (train + held)
    rows = {
        row: {
            "images_per_s": rate,
            "search_device_hours": min(search_images / rate / 3600, most_hours),
            "finals_device_hours": final_images / rate / 3600,
        }
        for row, rate in rates.items()
        if rate
    }
    control = max((row["finals_device_hours"] for row in rows.values()), default=0.0)
    total = sum(row["search_device_hours"] + row["finals_device_hours"] for row in rows.values()) + control
    price = study.resources.price_per_hour
    return {
        "rows": rows,
        "unknown": [row for row, rate in rates.items() if not rate],
        "control_device_hours": control,
        "device_hours": total,
        "price_per_hour": price,
        "price": None if price is None else price * total,
    }


def write_prediction(study: Study, rates: Mapping[str, float | None], searching: TrialImages) -> None:
    """Writes ``prediction.json`` beside the ledger."""
    predicted = predict(study, rates, len(searching.train_labels), len(searching.held_labels))
    write_whole(study.folder.prediction, json.dumps(predicted, indent=2) + "\n")
