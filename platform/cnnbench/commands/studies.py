"""Studies by name: those that come with cnnbench, from any folder; ``cnnbench studies`` lists them."""

from pathlib import Path
from typing import Any

from rich.table import Table

from cnnbench.nearest import alternatives
from cnnbench.study import StudyError
from cnnbench.study.document import read_yaml
from cnnbench.study.ready_made import ready_made_studies


def find(given: Path, *, folders: bool = False) -> Path:
    """The study file that the user means: the file ``given``, else the ready-made study of that name. folders: a
    folder will do as well. What looks like a path is left to whoever reads it. Raises StudyError."""
    if given.is_file() or (folders and given.is_dir()) or given.suffix or len(given.parts) != 1:
        return given
    studies = ready_made_studies()
    if given.name not in studies:
        instead = alternatives(given.name, studies, "cnnbench studies")
        raise StudyError(str(given), [f"no such file, and no ready-made study has this name; {instead}"])
    return studies[given.name]


def listed() -> list[dict[str, Any]]:
    """The ready-made studies: name, what (its file's first line), data set, rows, trials, epochs, seeds."""
    return [_summary(name, path.read_text(encoding="utf-8")) for name, path in ready_made_studies().items()]


def studies_table(studies: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "what", "data set"):
        table.add_column(heading)
    for heading in ("rows", "trials", "epochs", "seeds"):
        table.add_column(heading, justify="right")
    for study in studies:
        table.add_row(*(str(value) for value in study.values()))
    return table


def _summary(name: str, text: str) -> dict[str, Any]:
    tree = read_yaml(text)
    return {
        "name": name,
        "what": text.partition("\n")[0].lstrip("# "),
        "dataset": tree["data"]["dataset"],
        "rows": len(tree["architectures"]),
        "trials": tree["budget"]["trials"],
        "epochs": tree["budget"]["epochs"],
        "seeds": tree["finals"]["seeds"],
    }
