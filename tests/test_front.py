"""The front of all trials in validation accuracy, MACs and parameters."""

import random
from pathlib import Path

from cnnbench.report import write_report
from cnnbench.report.figures.front import not_beaten, trial_front
from cnnbench.report.table.row_records import by_row
from ledger_rows import trial, two_rows


def priced(row, index, score, macs, params, **changes):
    cost = trial(row, index, score).cost.model_copy(update={"macs": macs, "params": params})
    return trial(row, index, score, cost=cost, **changes)


def names(records):
    return [member.trial for member in trial_front(by_row(records)).members]


def test_a_trial_stays_if_no_other_is_as_good_in_all_three():
    best, few_macs, few_params = (
        priced("a", 0, 0.9, 100, 100),
        priced("b", 0, 0.8, 50, 200),
        priced("b", 1, 0.8, 90, 10),
    )
    beaten = [priced("a", 1, 0.85, 100, 101), priced("b", 2, 0.79, 50, 200), priced("b", 3, 0.5, 91, 11)]
    assert names([*beaten, few_params, best, few_macs]) == ["a-search-0", "b-search-0", "b-search-1"]


def test_the_front_is_that_of_every_trial_whichever_row_it_belongs_to_and_whether_it_was_pruned():
    pruned = priced("a", 0, 0.95, 10, 10, status="pruned", epochs=trial("a", 0, 0.5).epochs)
    lost = priced("a", 1, None, 1, 1, status="diverged")
    front = trial_front(by_row([pruned, lost, priced("b", 0, 0.9, 20, 5), priced("b", 1, 0.9, 20, 5)]))
    assert [member.trial for member in front.members] == ["a-search-0", "b-search-0"]
    assert (front.trials, front.left_out) == (3, 1)


def test_the_front_is_what_comparing_every_pair_leaves():
    chance = random.Random(0)
    costs = [(chance.randint(1, 12), chance.randint(1, 12)) for _ in range(400)]
    points = {(chance.randint(0, macs + params) / 24, macs, params) for macs, params in costs}

    def beats(a, b):
        return a != b and a[0] >= b[0] and a[1] <= b[1] and a[2] <= b[2]

    slow = {point for point in points if not any(beats(other, point) for other in points)}
    assert set(not_beaten(points)) == slow and 3 < len(slow) < 100


def test_the_page_has_the_front_as_a_table(tmp_path: Path):
    write_report({"study": "tiny"}, two_rows(), tmp_path, generated_utc="never", tracking_uri=None)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    section = page[page.index('id="front"') :]
    assert "good-search-1" in section[: section.index("</table>")]
