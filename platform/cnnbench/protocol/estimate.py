"""The plan of a study in words: trials, epochs, images, costs, how long it should take, and its price."""

from collections.abc import Mapping
from typing import Any

import torch

from cnnbench.precision import Precision
from cnnbench.protocol.plan import PlannedRow, check_budget, plan_rows, searched_names
from cnnbench.protocol.price import predict
from cnnbench.protocol.row_probe import probe_network, rate_of
from cnnbench.study import Study
from cnnbench.trial import machine
from cnnbench.trial.study_images import open_sources


def estimate(study: Study) -> str:
    """Probes each architecture in this process, on its GPU if it has one. Raises what ``conduct`` raises at first."""
    material = open_sources(study.data).for_search()
    classes, channels, size = len(material.classes), material.channels, study.data.image_size
    rows = plan_rows(study, channels=channels, classes=classes)
    train, held = len(material.train_labels), len(material.held_labels)
    check_budget(study, train)
    gpus = 1.0 if torch.cuda.is_available() and study.resources.gpus != 0 else 0.0
    probed = {
        label: probe_network(row.network, study.precision, cpus=study.resources.cpus, gpus=gpus)
        for label, row in rows.items()
    }
    predicted = predict(study, {label: rate_of(found) for label, found in probed.items()}, train, held)
    epochs, trials, seeds = study.budget.epochs, study.budget.trials, study.finals.seeds
    return "\n".join(
        [
            f"study {study.study}: {study.data.dataset}, {train} training and {held} validation images of "
            f"{channels}×{size}×{size}, {classes} classes",
            f"search: {len(rows)} architectures × {trials} trials × at most {epochs} epochs "
            f"({len(rows) * trials * epochs * train:,} images){_limit(study)}, "
            f"{study.search.sampler} and {study.search.pruner}, over "
            f"{', '.join(searched_names(study.space)) or 'nothing'}",
            f"finals: {len(rows)} × {seeds} seeds × at most {epochs} epochs "
            f"({len(rows) * seeds * epochs * (train + held):,} images)",
            f"control: the best row's finals again ({seeds * epochs * (train + held):,} images)",
            "",
            f"{'architecture':24}{'params':>12}{'MACs':>14}  {'precision':20}{'images/s':>10}{'device-hours':>14}",
            *(_line(row, probed[label], predicted["rows"].get(label)) for label, row in rows.items()),
            "",
            _total(study, predicted),
        ]
    )


def _limit(study: Study) -> str:
    if study.budget.limit is None:
        return ""
    unit, amount = study.budget.limit
    return f", each architecture at most {amount:,.0f} {unit.replace('_', '-')}"


def _line(row: PlannedRow, probed: Mapping[str, Any], predicted: Mapping[str, float] | None) -> str:
    precision = str(Precision(probed["dtype"], probed["channels_last"]))
    start = f"{row.label:24}{row.cost['params']:>12,}{row.cost['macs']:>14,}  {precision:20}"
    out = f"  without {', '.join(row.left_out)}" if row.left_out else ""
    if predicted is None:
        return f"{start}  no estimate: {'; '.join(probed['failures'].values())}{out}"
    hours = predicted["search_device_hours"] + predicted["finals_device_hours"]
    return f"{start}{predicted['images_per_s']:>10,.0f}{hours:>14.3f}{out}"


def _total(study: Study, predicted: Mapping[str, Any]) -> str:
    hours, price = predicted["device_hours"], study.resources.price_per_hour
    at_once = study.resources.concurrent_trials
    many = at_once if isinstance(at_once, int) else max(1, int(machine.host_cpus() / study.resources.cpus))
    without = f", without {', '.join(predicted['unknown'])}" if predicted["unknown"] else ""
    cost = "" if price is None else f"; at {price:g} an hour that costs {predicted['price']:,.2f}"
    control = f"of them {predicted['control_device_hours']:.2f} for the control"
    return (
        f"{hours:.2f} device-hours at the probed speed, {control}{without}{cost}; "
        f"with {many} at once about {_time(hours / many)}.\n"
        "Pruned trials take less; small batches, augmentation and other processes on the machine take more."
    )


def _time(hours: float) -> str:
    return f"{hours * 60:.0f} minutes" if hours < 2 else f"{hours:.1f} hours"
