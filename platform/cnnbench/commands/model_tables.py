"""The tables of ``cnnbench models`` and ``cnnbench describe`` for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

SHOWN_NAMES = 4  # of a kind's sites; --json has all


def models_table(rows: Sequence[Mapping[str, Any]], title: str) -> Group:
    """``rows`` as ``models.models`` returns them; those that can't be built stand below, with the reason."""
    columns = ["name", "year", "family", "params", "MACs", "FLOPs", "smallest", "paper"]
    table = _table(columns, left=("name", "family", "smallest", "paper"), title=title)
    for row in rows:
        if not row.get("error"):
            smallest = ", ".join(f"{side} {stem}" for stem, side in (row["smallest"] or {}).items())
            costs = [f"{row[name]:,}" for name in ("params", "macs", "flops")]
            table.add_row(row["name"], str(row["year"] or ""), row["family"], *costs, smallest, row["paper"])
    return Group(table, *_faults(rows))


def components_table(rows: Sequence[Mapping[str, Any]], title: str) -> Group:
    """As ``models_table``, with each component kind's number of sites."""
    kinds = list(next((row["components"] for row in rows if row["components"]), ()))
    table = _table(["name", *(kind.replace("_", "\n") for kind in kinds)], left=("name",), title=f"sites {title}")
    for row in rows:
        if row["components"]:
            table.add_row(row["name"], *(str(row["components"][kind] or "–") for kind in kinds))
    return Group(table, *_faults(rows))


def _faults(rows: Sequence[Mapping[str, Any]]) -> list[Text]:
    faulty = [(row["name"], row["error"]) for row in rows if row.get("error")]
    return [Text(error if name in error else f"{name}: {error}") for name, error in faulty]


def description_table(described: Mapping[str, Any]) -> Group:
    """``described`` as ``models.describe`` returns it."""
    source = ", ".join(str(described[key]) for key in ("year", "family", "paper") if described[key])
    size = "×".join(map(str, described["input"]))
    multipliers = "".join(f", {name} {described[name]:g}" for name in ("width", "depth") if described[name] != 1)
    title = f"{described['architecture']} ({source}) at {size}, {described['classes']} classes, "
    head = Text(f"{title}{described['stem']} stem{multipliers}", style="bold")
    return Group(head, Text(), _layers(described), Text(), *_totals(described), Text(), _sites(described))


def _layers(described: Mapping[str, Any]) -> Table:
    table = _table(["layer", "type", "output", "field", "stride", "params", "MACs"], left=("layer", "type"))
    for layer in described["layers"]:
        numbers = [f"{layer[name]:,}" if layer[name] else "" for name in ("params", "macs")]
        output = "×".join(map(str, layer["output"]))
        table.add_row(Text(layer["name"]), Text(layer["type"]), output, *_field(layer["field"]), *numbers)
    return table


def _field(field: Mapping[str, Any] | None) -> tuple[str, str]:
    if field is None:
        return "", ""
    return ("image", "") if field["size"] == "image" else (_pixels(field["size"]), _pixels(field["stride"]))


def _pixels(pair: tuple[float, float]) -> str:
    """One number for a square."""
    return "×".join(f"{side:g}" for side in dict.fromkeys(pair))


def _totals(described: Mapping[str, Any]) -> list[Text]:
    cost = described["cost"]
    lines = [
        f"{cost['params']:,} parameters ({cost['trainable_params']:,} trainable), {cost['macs']:,} MACs, "
        f"{cost['flops']:,} FLOPs, {cost['size_mb']:.2f} MB"
    ]
    if described["unused_params"]:
        lines.append(f"{described['unused_params']:,} of the parameters are not used in evaluation")
    if "speed" in described:
        speed = described["speed"]
        lines.append(
            f"{speed['latency_ms_median']:.2f} ms an image (95 % within {speed['latency_ms_p95']:.2f} ms, "
            f"{speed['latency_runs']} runs), {speed['throughput']:,.0f} images/s in batches of "
            f"{speed['throughput_batch']}, {speed['peak_memory_mb']:.1f} MB at most; {speed['device']}, "
            f"{speed['threads']} threads"
        )
    return [*map(Text, lines), Text(f"Not counted: {described['not_counted']}", style="dim")]


def _sites(described: Mapping[str, Any]) -> Table:
    table = _table(["component", "sites", "there", "where"], left=("component", "there", "where"))
    for kind, sites in described["sites"].items():
        if not sites:
            table.add_row(kind, "–", "", Text(f"would go to: {described['sites_of'][kind]}", style="dim"))
            continue
        values = dict.fromkeys("nothing yet" if site["insert"] else str(site["value"] or "its own") for site in sites)
        names = [site["name"] for site in sites]
        shown = names if len(names) <= SHOWN_NAMES else [*names[: SHOWN_NAMES - 1], "…", names[-1]]
        table.add_row(kind, str(len(sites)), ", ".join(values), Text(", ".join(shown)))
    return table


def _table(columns: Sequence[str], left: Sequence[str], title: str | None = None) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title=title)
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right", overflow="fold")
    return table
