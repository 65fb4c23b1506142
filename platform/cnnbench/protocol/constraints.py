"""Limits on what a configuration may cost. Parameters and MACs are known before it trains, so what is over a limit is
refused before it costs anything."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from cnnbench.networks import cost
from cnnbench.networks.build import build
from cnnbench.networks.spec import NetworkSpec
from cnnbench.protocol.plan import PlannedRow, over_limit
from cnnbench.search.configuration import put_in
from cnnbench.search.search import Admits
from cnnbench.study import Constraints, Study


def admission(study: Study, rows: Mapping[str, PlannedRow]) -> Admits | None:
    """Says of a row's configuration whether it is within the study's limits; None where it sets none."""
    if study.constraints == Constraints():
        return None
    known: dict[tuple[str, str], bool] = {}

    def admits(label: str, values: Mapping[str, Any]) -> bool:
        row = rows[label]
        chosen = put_in(values)
        key = (label, repr(sorted(chosen.items())))
        if key not in known:
            known[key] = not over_limit(study.constraints, _measure(replace(row.network, components=chosen)))
        return known[key]

    return admits


def _measure(spec: NetworkSpec) -> dict[str, Any]:
    with torch.device("meta"):
        built, _ = build(spec)
    return vars(cost.measure(built, spec.image))
