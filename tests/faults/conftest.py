"""What the fault matrix shares: the undisturbed study, the seed of its random moments, and the table that it writes."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fault_table
from disturbed import Place
from fault_table import Row

SEED = int(os.environ.get("FAULTS_SEED", "0"))
_told = pytest.StashKey[list[Row]]()
_rows: dict[str, Row] = {}
_said: list[str] = []


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Tells of a fault: its row stands in the table if the test passes."""
    rows: list[Row] = []
    request.node.stash[_told] = rows

    def say(fault: str, **facts: Any) -> None:
        rows.append(Row(fault, **facts))

    return say


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.when == "call" and report.passed:
        _rows.update({row.fault: row for row in item.stash.get(_told, [])})
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _rows and not hasattr(session.config, "workerinput"):
        _said.append(fault_table.write(_rows))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _said:
        terminalreporter.write_line(line)
        terminalreporter.write_line(f"seed of the random moments: {SEED} (FAULTS_SEED={SEED} make test-faults)")


@pytest.fixture
def moments(request: pytest.FixtureRequest) -> random.Random:
    """The random numbers of a test, by the seed and its name."""
    print(f"seed of the random moments: {SEED}")
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture
def seed() -> int:
    return SEED


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The study that nothing disturbed."""
    place = Place(tmp_path_factory.mktemp("undisturbed"))
    place.run()
    return place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A folder for the same study."""
    return Place(tmp_path)
