"""The table of docs/faults.md: a row a fault, written by the tests that made it, and the line of the soak."""

from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"

# In this order; a test says its row by this name.
FAULTS = (
    "worker SIGKILL",
    "worker SIGKILL, each time",
    "host lost",
    "driver SIGKILL",
    "head lost",
    "SIGTERM",
    "Ctrl-C",
    "Ctrl-C, twice",
    "truncated ledger",
    "truncated checkpoint",
    "truncated state",
    "truncated Optuna store",
    "MLflow down",
    "MLflow slow",
    "MLflow answers 500",
    "MLflow back",
    "sqlite locked",
    "full disk",
    "NaN",
    "out of memory",
    "Ray's memory monitor",
    "a fault of the network's own",
    "bad study file",
    "empty class folder",
    "one class",
    "corrupt image",
    "clock jump",
    "one study started twice",
    "interrupted five times",
)


@dataclass(frozen=True)
class Row:
    """What came of a fault. saw: what the user was told, as the test asked for it; kept, redone: trials that were
    finished before it and stand in the ledger as they did, and trials that were begun before it and run again."""

    fault: str
    done: str
    saw: str
    kept: int | None = None
    redone: int | None = None

    def __post_init__(self) -> None:
        assert self.fault in FAULTS, self.fault

    def __str__(self) -> str:
        counts = ("–" if count is None else str(count) for count in (self.kept, self.redone))
        return f"| {' | '.join((self.fault, self.done, self.saw, *counts))} |"


def missing(rows: dict[str, Row]) -> list[str]:
    """The faults that no test that passed has told of."""
    return [fault for fault in FAULTS if fault not in rows]


def write(rows: dict[str, Row]) -> str:
    """Replaces the page's table, if every row is there; says what it did."""
    if left := missing(rows):
        return f"{PAGE.name} stays as it is: in this run no test that passed told of {', '.join(left)}"
    lines = [
        "| fault | what was done | what the user saw | kept | redone |",
        "| --- | --- | --- | --- | --- |",
        *(str(rows[fault]) for fault in FAULTS),
    ]
    return "the table of docs/faults.md was " + replace("table", "\n".join(lines))


def replace(section: str, text: str) -> str:
    """Puts ``text`` between the page's marks of a section; "written anew", or "the same"."""
    begin, end = f"<!-- {section}: generated -->\n", f"\n<!-- {section}: end -->"
    page = PAGE.read_text()
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    assert found, f"{PAGE}: its marks of {section!r} are gone"
    new = f"{before}{begin}{text}{end}{after}"
    if new == page:
        return "the same"
    PAGE.write_text(new)
    return "written anew"
