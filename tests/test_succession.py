"""Two phases that share processes: when the second begins, and who hears of a trial."""

from types import SimpleNamespace
from typing import Any

from cnnbench.protocol.phases import Succession


class Listed:
    """A phase of so many trials, that writes down what it hears."""

    time_limit_s = None

    def __init__(self, name: str, trials: int) -> None:
        self.name = name
        self.left = [f"{name} {number}" for number in range(trials)]
        self.heard: list[tuple[str, str]] = []

    @property
    def waiting(self) -> int:
        return len(self.left)

    def ask(self) -> str | None:
        return self.left.pop(0) if self.left else None

    def started(self, progress: Any) -> None:
        self.heard.append(("started", progress.spec))

    def report(self, progress: Any, point: Any) -> str | None:
        self.heard.append(("report", progress.spec))
        return f"pruned by {self.name}"

    def retried(self, progress: Any, reason: str) -> None:
        self.heard.append(("retried", progress.spec))

    def note(self, progress: Any, text: str) -> None:
        self.heard.append(("note", progress.spec))

    def finish(self, progress: Any, status: str, reason: str, end: Any) -> None:
        self.heard.append(("finish", progress.spec))


def succession(*phases: Listed) -> tuple[Succession, list[int]]:
    """And how much the first had heard when each phase began."""
    begun: list[int] = []
    return Succession(phases, lambda phase: begun.append(len(phases[0].heard))), begun  # type: ignore[arg-type]


def trial(spec: Any) -> Any:
    return SimpleNamespace(spec=spec)


def test_the_second_begins_once_when_all_of_the_first_have_ended_and_is_the_one_that_hears():
    first, second = Listed("final", 2), Listed("control", 1)
    both, begun = succession(first, second)
    one, two = both.ask(), both.ask()
    assert (one, two, both.ask(), both.waiting) == ("final 0", "final 1", None, 0)
    both.started(trial(one))
    assert both.report(trial(one), {}) == "pruned by final"
    both.finish(trial(two), "completed", "", {})
    assert both.ask() is None and begun == [0]
    both.finish(trial(one), "failed", "gave up", {})
    assert begun == [0, 4] and both.waiting == 1
    three = both.ask()
    both.retried(trial(three), "lost")
    both.note(trial(three), "slow")
    both.finish(trial(three), "completed", "", {})
    assert both.ask() is None and begun == [0, 4]
    assert second.heard == [(event, "control 0") for event in ("retried", "note", "finish")]


def test_a_first_that_is_done_already_leads_to_the_second_at_once():
    both, begun = succession(Listed("final", 0), Listed("control", 3))
    assert (begun, both.waiting, both.ask()) == ([0, 0], 3, "control 0")


def test_where_the_second_has_nothing_to_do_nothing_is_left():
    both, begun = succession(Listed("final", 0), Listed("control", 0))
    assert (begun, both.waiting, both.ask()) == ([0, 0], 0, None)
