"""SECURITY.md names tests that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROWS = [line for line in (ROOT / "SECURITY.md").read_text().splitlines() if line.startswith("| ")][2:]


def test_each_threat_has_tests_and_each_of_them_exists():
    assert len(ROWS) > 10
    for row in ROWS:
        named = re.findall(r"`([^`]+)`", row.rstrip("| ").rpartition("| ")[2])
        files = [name for name in named if name.endswith(".py")]
        assert files, f"no test file: {row}"
        assert [name for name in files if not (ROOT / "tests" / name).is_file()] == []
        tests = re.findall(r"def (test_\w+)", "".join((ROOT / "tests" / name).read_text() for name in files))
        for name in set(named) - set(files):
            part = name.strip("…")
            assert any(part in test for test in tests), f"{name}: in none of {files}"
