"""Precision, memory layout and speed of each row, measured once where its trials will run, and kept for all of them."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from cnnbench.ledger import TrialRecord
from cnnbench.networks.build import build
from cnnbench.networks.spec import NetworkSpec
from cnnbench.precision import COMBINATIONS, Precision
from cnnbench.protocol.plan import PlannedRow
from cnnbench.study import Study
from cnnbench.training.allocator import keep_freed_memory
from cnnbench.training.probe import probe
from cnnbench.whole_file import read_json, write_whole

BATCH = 128  # images a probing step; the default batch size


def probe_network(network: NetworkSpec, precision: str, *, cpus: float, gpus: float) -> dict[str, Any]:
    """The fastest combination of number format and layout for a network, and images/s of each.

    precision: as in a study. One that is fixed is only measured, and has no images/s where that fails: its trials may
    have smaller batches. Raises the first error if with "auto" all combinations fail.
    """
    torch.set_num_threads(max(1, int(cpus)))
    keep_freed_memory()  # as a trial does

    def factory() -> torch.nn.Module:
        return build(network)[0]

    combinations = COMBINATIONS if precision == "auto" else (Precision(precision),)  # type: ignore[arg-type]
    device = torch.device("cuda" if gpus else "cpu")
    try:
        found = probe(factory, network.image, BATCH, device, combinations=combinations)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        if precision == "auto":
            raise
        return _said(combinations[0], {}, {combinations[0]: str(error).split("\n")[0]})
    return _said(found.precision, found.images_per_s, found.failures)


def _said(chosen: Precision, rates: Mapping[Precision, float], failures: Mapping[Precision, str]) -> dict[str, Any]:
    return {
        "dtype": chosen.dtype,
        "channels_last": chosen.channels_last,
        "images_per_s": {str(combination): round(rate, 1) for combination, rate in rates.items()},
        "failures": {str(combination): reason for combination, reason in failures.items()},
    }


def rate_of(probed: Mapping[str, Any]) -> float | None:
    """Images per second of training in the combination that was chosen; None where it could not be measured."""
    chosen = Precision(probed["dtype"], probed["channels_last"])
    rate: float | None = probed["images_per_s"].get(str(chosen))
    return rate


def choose_precision(
    study: Study, rows: Mapping[str, PlannedRow], each: Callable[..., list[dict[str, Any]]], *,
    records: Sequence[TrialRecord] = (), say: Callable[[str], None] = lambda line: None,
) -> dict[str, PlannedRow]:  # fmt: skip
    """The rows with their precision: as the study fixes it, as an earlier run of the study found it, or probed now.
    each: calls a function where trials will run, once with each of some arguments (``Session.each``); records: what the
    study has trained so far, which decides where the file that says it is lost."""
    path = study.folder.precision
    known = read_json(path, say, using="what the ledger's records say, and a new probe for the rest")
    known = _known_by(records) if known is None else known
    unknown = [label for label in rows if label not in known]
    calls = [{"network": rows[label].network, "precision": study.precision} for label in unknown]
    known |= dict(zip(unknown, each(probe_network, calls), strict=True))
    write_whole(path, json.dumps(known, indent=2) + "\n")
    return {
        label: row.with_precision(known[label]["dtype"], known[label]["channels_last"]) for label, row in rows.items()
    }


def _known_by(records: Sequence[TrialRecord]) -> dict[str, Any]:
    machines = {record.row: record.machine for record in records if record.epochs}
    return {
        row: _said(Precision(machine.precision, machine.channels_last), {}, {}) for row, machine in machines.items()
    }


def probed_rates(study: Study) -> dict[str, float | None]:
    """Row label → images per second, as ``choose_precision`` wrote them down."""
    known: dict[str, Any] = json.loads(study.folder.precision.read_text())
    return {label: rate_of(probed) for label, probed in known.items()}
