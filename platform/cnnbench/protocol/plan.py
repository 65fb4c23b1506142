"""The plan of a study: every row built once without memory, so that what can't work is said before anything starts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch

from cnnbench.architectures import ARCHITECTURES
from cnnbench.components import count_sites, is_normalized, refusals
from cnnbench.components.kinds import KINDS
from cnnbench.networks import cost
from cnnbench.networks.build import build
from cnnbench.networks.spec import NetworkSpec
from cnnbench.search.search import grid_of
from cnnbench.study import Architecture, Constraints, Study, StudyError
from cnnbench.study.space import Choice, Domain, FloatRange, Space, Value, values_of, walk, without
from cnnbench.trial import machine
from cnnbench.trial.spec import TrialSpec
from cnnbench.vocabulary import ORIGINAL


@dataclass(frozen=True)
class PlannedRow:
    """One leaderboard row as planned. ``space`` lacks the component kinds in ``left_out``, for which the architecture
    has no site. ``cost`` is that of the original network, ``normalized`` whether it has normalisations."""

    label: str
    network: NetworkSpec  # the original one, without components
    year: int
    family: str
    space: Space
    left_out: tuple[str, ...]
    sites: Mapping[str, int]
    cost: Mapping[str, Any]
    normalized: bool
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = False

    def with_precision(self, dtype: Literal["fp32", "bf16"], channels_last: bool) -> "PlannedRow":
        return replace(self, precision=dtype, channels_last=channels_last)

    def unknown_machine(self, spec: TrialSpec) -> dict[str, Any]:
        """The ledger's machine for a trial that ended before it could say where it ran."""
        return {
            "device": "unknown", "workers": spec.workers, "precision": spec.precision, "python": "unknown",
            "channels_last": spec.channels_last, "host_cpus": 0, "versions": machine.versions(),
        }  # fmt: skip


def plan_rows(study: Study, *, channels: int, classes: int) -> dict[str, PlannedRow]:
    """Row label → row, in the study's order. Raises StudyError with everything that can't work."""
    rows, errors = {}, []
    for number, architecture in enumerate(study.architectures):
        try:
            rows[architecture.row] = _plan(study, architecture, channels, classes)
        except _Unfit as error:
            errors += [f"architectures.{number} ({architecture.row}): {line}" for line in error.args[0]]
    if study.search.sampler == "grid":
        try:
            grid_of(study.space, 0)
        except ValueError as error:
            errors.append(str(error))
    if errors:
        raise StudyError(study.study, errors)
    return rows


def check_budget(study: Study, train_images: int) -> None:
    """Raises StudyError where not even one trial of a row could run to its last epoch."""
    one = study.budget.epochs * train_images
    if study.budget.images is not None and study.budget.images < one:
        raise StudyError(
            study.study,
            [f"budget.images: {study.budget.images:,} are less than one trial's, {study.budget.epochs} epochs of "
             f"{train_images:,} images ({one:,}); no trial could complete"],
        )  # fmt: skip


def over_limit(constraints: Constraints, measured: Mapping[str, Any]) -> str:
    """What is over its limit in ``measured`` (``params`` and ``macs``), in words; "" if nothing is."""
    for name in ("params", "macs"):
        limit = getattr(constraints, f"max_{name}")
        if limit is not None and measured[name] > limit:
            return f"{measured[name]:,} {name} are more than constraints.max_{name}, {limit:,}"
    return ""


class _Unfit(Exception):
    """Why a row can't be built: one line each."""


def _plan(study: Study, architecture: Architecture, channels: int, classes: int) -> PlannedRow:
    network = NetworkSpec(
        architecture.name, classes=classes, channels=channels, image_size=study.data.image_size,
        stem=architecture.stem, width=architecture.width, depth=architecture.depth,
    )  # fmt: skip
    image = network.image
    searched = {name: domain for name, _, domain in walk(study.space) if name in KINDS}
    try:
        with torch.device("meta"):
            plain, _ = build(network)
            sites = count_sites(plain, image) if searched else {}  # what is not searched need not be traceable
    except ValueError as error:
        raise _Unfit([str(error)]) from None
    left_out = tuple(kind for kind in searched if not sites.get(kind))
    if left_out and study.unreached_components == "refuse":
        raise _Unfit(
            [
                f"space.{kind}: this architecture has no such site; search it elsewhere, or set "
                "unreached_components: leave_out"
                for kind in left_out
            ]
        )
    candidates: dict[str, Any] = {
        kind: trial_values(domain) for kind, domain in searched.items() if kind not in left_out
    }
    errors = []
    if candidates:
        with torch.device("meta"):
            refused = refusals(plain, candidates, image, name=architecture.name)
        errors = [f"space.{kind}: {problem}" for kind, problems in refused.items() for problem in problems]
    if errors:
        raise _Unfit(errors)
    facts = ARCHITECTURES[architecture.name].facts
    measured = asdict(cost.measure(plain, image))
    over = over_limit(study.constraints, measured)
    if over:
        raise _Unfit([f"{over}; leave this architecture out, or give it a smaller width"])
    return PlannedRow(
        label=architecture.row,
        network=network,
        year=facts["year"],
        family=facts["family"],
        space=without(study.space, left_out),
        left_out=left_out,
        sites=sites,
        cost=measured,
        normalized=is_normalized(plain),
    )


def trial_values(domain: Domain) -> tuple[Value, ...]:
    """The values of a component to try before the study starts: all of a choice, the ends of a range."""
    if isinstance(domain, FloatRange):
        return (domain.low, domain.high)
    return tuple(value for value in values_of(domain) if value not in (None, ORIGINAL))


def searched_names(space: Space) -> tuple[str, ...]:
    """The hyperparameters that differ between trials."""
    return tuple(dict.fromkeys(name for name, _, d in walk(space) if isinstance(d, Choice) or not values_of(d)))
