"""Limits on what a configuration may cost. Parameters and MACs are known before it trains, so what is over a limit is
refused before it costs anything."""

from collections.abc import Mapping
from typing import Any

import torch

from cnnbench.networks import build as network
from cnnbench.networks import cost
from cnnbench.protocol.plan import Row, over_limit
from cnnbench.search.configuration import put_in
from cnnbench.search.search import Admits
from cnnbench.study import Constraints, Study


def admission(study: Study, rows: Mapping[str, Row], *, channels: int, classes: int) -> Admits | None:
    """Says of a row's configuration whether it is within the study's limits; None where it sets none."""
    if study.constraints == Constraints():
        return None
    known: dict[tuple[str, str], bool] = {}

    def admits(label: str, values: Mapping[str, Any]) -> bool:
        row = rows[label]
        chosen = put_in(values)
        key = (label, repr(sorted(chosen.items())))
        if key not in known:
            known[key] = not over_limit(study.constraints, _measure(study, row, chosen, channels, classes))
        return known[key]

    return admits


def _measure(study: Study, row: Row, components: Mapping[str, Any], channels: int, classes: int) -> dict[str, Any]:
    size = study.data.image_size
    options: dict[str, Any] = {name: getattr(row.architecture, name) for name in ("stem", "width", "depth")}
    with torch.device("meta"):
        built, _ = network.build(
            row.architecture.name, classes=classes, channels=channels, image_size=size, components=components, **options
        )
    return vars(cost.measure(built, (channels, size, size)))
