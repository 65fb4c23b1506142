"""Device time as it was predicted before the study began, beside what was spent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnnbench.ledger import TrialRecord
from cnnbench.report.table.row_records import RowRecords

HOUR = 3600.0


@dataclass(frozen=True)
class Price:
    """Of one row, or of all: seconds on devices, predicted and spent; None where that is not known."""

    label: str
    images_per_s: float | None
    search_predicted: float | None
    search_spent: float
    finals_predicted: float | None
    finals_spent: float


@dataclass(frozen=True)
class Prices:
    """The rows, their sum, and (price an hour, predicted, spent) where the study states a price."""

    rows: tuple[Price, ...]
    total: Price
    money: tuple[float, float, float] | None


def prices(prediction: Mapping[str, Any] | None, rows: Sequence[RowRecords]) -> Prices | None:
    """prediction: a study's ``prediction.json``. None without it. A row that is no longer in the study, or that could
    not be probed, has no prediction; the A/A control's is that of the slowest row."""
    if not prediction or not prediction["rows"]:
        return None
    lines = tuple(_price(prediction, row) for row in rows if row.control != "majority")
    total = Price(
        "all", None,
        _sum(line.search_predicted for line in lines), sum(line.search_spent for line in lines),
        _sum(line.finals_predicted for line in lines), sum(line.finals_spent for line in lines),
    )  # fmt: skip
    hourly = prediction["price_per_hour"]
    spent = (total.search_spent + total.finals_spent) / HOUR
    return Prices(lines, total, None if hourly is None else (hourly, prediction["price"], hourly * spent))


def _price(prediction: Mapping[str, Any], row: RowRecords) -> Price:
    known = prediction["rows"].get(row.label, {})
    hours = {name: known.get(f"{name}_device_hours") for name in ("search", "finals")}
    if row.control:
        hours = {"search": None, "finals": prediction["control_device_hours"]}
    search, finals = (None if each is None else HOUR * each for each in hours.values())
    return Price(row.label, known.get("images_per_s"), search, _spent(row.trials), finals, _spent(row.finals))


def _spent(records: Sequence[TrialRecord]) -> float:
    return sum(record.budget.device_seconds for record in records)


def _sum(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
