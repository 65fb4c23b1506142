"""What ``cnnbench effects`` trains: each row's frozen configuration with one component swapped, built once without
memory, so that what a network can't take is said before anything starts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from cnnbench.components import KindReport, allowed
from cnnbench.components.kinds import KINDS, NUMBERS
from cnnbench.components.sites import find
from cnnbench.components.trace import trace
from cnnbench.networks import cost
from cnnbench.networks.build import build
from cnnbench.protocol.freeze import Winner
from cnnbench.protocol.plan import PlannedRow, over_limit
from cnnbench.search.configuration import put_in
from cnnbench.study import Study, StudyError
from cnnbench.study.space import Choice, Value, values_of, walk
from cnnbench.training.recipe import KNOBS
from cnnbench.vocabulary import ORIGINAL, effect_values


@dataclass(frozen=True)
class Variant:
    """A row's frozen configuration with ``value`` of ``component`` instead of ``instead_of``; ``values``: all of it."""

    row: str
    component: str
    value: Value
    instead_of: Value
    values: Mapping[str, Value]


@dataclass(frozen=True)
class Variants:
    """The plan: what to train, the rows with their sites counted, and in words what is left out."""

    variants: tuple[Variant, ...]
    rows: Mapping[str, PlannedRow]
    left_out: tuple[str, ...]


def plan_variants(study: Study, rows: Mapping[str, PlannedRow], winners: Mapping[str, Winner]) -> Variants:
    """Every value of every wanted component, but those that a configuration has already, and those that it can't take.

    Raises StudyError where nothing is wanted.
    """
    wanted = wanted_values(study)
    if not wanted:
        raise StudyError(study.study, ["effects.components: the space searches no component; name some"])
    variants: list[Variant] = []
    left_out: list[str] = []
    counted = {}
    for label, winner in winners.items():
        planner = _Planner(study, rows[label], winner, left_out)
        counted[label] = replace(rows[label], sites=planner.sites)
        for component, values in wanted.items():
            variants += planner.variants(component, values)
    return Variants(tuple(variants), counted, tuple(left_out))


def wanted_values(study: Study) -> dict[str, tuple[Value, ...]]:
    """Component → its values, as the study asks: by default, what the space searches, with all that it can be."""
    known = effect_values()
    asked = study.effects.components
    if isinstance(asked, Mapping):
        return {name: tuple(values) for name, values in asked.items()}
    if asked is not None:
        return {name: known[name] for name in asked}
    searched = {name: domain for name, _, domain in walk(study.space) if len(values_of(domain)) != 1}
    return {
        name: values_of(domain) if isinstance(domain, Choice) and _is_rate(name) else known[name]
        for name, domain in searched.items()
        if name in known
    }


def _is_rate(name: str) -> bool:
    return name in NUMBERS or (name in KNOBS and not KNOBS[name].choices)


def complete_schedule(name: str, epochs: int) -> dict[str, Value]:
    """A schedule with its usual parameters: steps at thirds of the training, warm-up for a twentieth of it."""
    usual: dict[str, dict[str, Value]] = {
        "step": {"step_epochs": max(1, epochs // 3), "gamma": 0.1},
        "multi_step": {"first_milestone": 0.5, "second_milestone": 0.75, "gamma": 0.1},
        "warmup_cosine": {"warmup_epochs": max(1, round(epochs / 20))},
        "warmup_step": {"warmup_epochs": max(1, round(epochs / 20)), "step_epochs": max(1, epochs // 3), "gamma": 0.1},
        "plateau": {"plateau_factor": 0.1, "plateau_patience": max(1, epochs // 10)},
        "one_cycle": {"pct_start": 0.3},
    }
    return {"schedule": name, **usual.get(name, {})}


class _Planner:
    """Builds one row's frozen configuration with a component swapped."""

    def __init__(self, study: Study, row: PlannedRow, winner: Winner, left_out: list[str]) -> None:
        self._study, self._row, self._winner, self._left_out = study, row, winner, left_out
        self._components = put_in(winner.values)
        self._reports: dict[tuple[str, Value], KindReport | str] = {}
        with torch.device("meta"):
            plain, _ = build(row.network)
            try:
                self._found = find(trace(plain, row.network.image))
            except ValueError as error:  # such a network takes no component, but any schedule
                self._found = {}
                left_out.append(f"{row.label}: {error}")
        self.sites = {kind: len(sites) for kind, sites in self._found.items()}

    def variants(self, component: str, values: tuple[Value, ...]) -> list[Variant]:
        if component in KINDS:
            return self._of_kind(component, values)
        now = self._winner.values.get(component, KNOBS[component].default)
        found = []
        for value in values:
            changes = {component: value}
            if component == "schedule":
                changes = complete_schedule(str(value), self._study.budget.epochs)
            if value != now:
                found.append(self._variant(component, value, now, changes))
        return found

    def _of_kind(self, kind: str, values: tuple[Value, ...]) -> list[Variant]:
        if not self.sites.get(kind):
            if self.sites:
                self._left_out.append(f"{self._row.label}: {kind}: it has no such site")
            return []
        now: Value = self._components.get(kind, ORIGINAL)
        own = self._own(kind, (*values, now))
        now = own if now == ORIGINAL else now
        found: list[Variant] = []
        for value in values:
            meant = own if value == ORIGINAL else value  # "original" and the value that the original has are one
            if meant == now or any(variant.value == meant for variant in found):
                continue
            if meant == ORIGINAL:
                found.append(self._variant(kind, meant, now, {kind: None}))
                continue
            report = self._report(kind, meant)
            if isinstance(report, str):
                self._left_out.append(f"{self._row.label}: {report}")
            elif meant == 0 and kind in NUMBERS and report.how == "inserted":
                continue  # a rate of zero where nothing stood changes nothing
            else:
                found.append(self._variant(kind, meant, now, {kind: meant}))
        return found

    def _own(self, kind: str, rates: tuple[Value, ...]) -> Value:
        """The value that the architecture as published has at every site of the kind, one of ``rates`` if it is a
        number; ORIGINAL if it has no such one."""
        values = rates if kind in NUMBERS else allowed(kind)
        for value in values:
            if value != ORIGINAL and all(site.has(value) for site in self._found[kind]):  # type: ignore[arg-type]
                return value
        return ORIGINAL

    def _report(self, kind: str, value: Value) -> KindReport | str:
        """What the swap does in the frozen configuration, or why it can't be."""
        key = (kind, value)
        if key not in self._reports:
            try:
                with torch.device("meta"):
                    built, report = build(replace(self._row.network, components={**self._components, kind: value}))
                over = over_limit(self._study.constraints, vars(cost.measure(built, self._row.network.image)))
                self._reports[key] = f"{kind}={value}: {over}" if over else report.components[kind]
            except ValueError as error:
                self._reports[key] = str(error)
        return self._reports[key]

    def _variant(self, component: str, value: Value, now: Value, changes: Mapping[str, Value]) -> Variant:
        return Variant(self._row.label, component, value, now, {**self._winner.values, **changes})
