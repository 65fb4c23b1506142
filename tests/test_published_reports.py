"""The reports that are published with this code are what it makes of their ledgers."""

import csv
import re
from pathlib import Path

import pytest

from cnnbench.report import write_report
from cnnbench.report.source import read_source

REPORTS = Path(__file__).parents[1] / "reports" / "published"
PUBLISHED = sorted(path.parent for path in REPORTS.glob("*/ledger.jsonl"))


def test_reports_are_published():
    assert {"digits", "fashion_mnist"} <= {folder.name for folder in PUBLISHED}


@pytest.mark.parametrize("study", ["digits", "fashion_mnist"])
def test_the_published_control_is_in_the_best_rows_group(study):
    with (REPORTS / study / "leaderboard.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    (control,) = [row for row in rows if row["control"] == "a/a"]
    assert control["control_of"] == rows[0]["architecture"] and control["rank_group"] == rows[0]["rank_group"] == "1"


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_a_published_report_equals_what_this_code_makes_of_its_ledger(folder, tmp_path):
    stamp = re.search(r'<meta name="date" content="([^"]*)">', (folder / "index.html").read_text(encoding="utf-8"))
    source = read_source(folder)
    write_report(
        source.study, source.records, tmp_path, generated_utc=stamp[1] if stamp else "never",
        tracking_uri=source.tracking_uri, prediction=source.prediction,
    )  # fmt: skip
    made = sorted(path.name for path in tmp_path.iterdir())
    other = [name for name in made if not _same(folder / name, tmp_path / name)]
    assert not other, (
        f"reports/published/{folder.name}: {', '.join(other)} is not what this code makes of the ledger: make reports"
    )


def _same(published: Path, made: Path) -> bool:
    return published.exists() and published.read_bytes() == made.read_bytes()
