"""The leaderboard: tables computed by hand, ranks within one search budget, controls beside the rows."""

import csv
import io
import json

import pytest

from cnnbench.ledger import SearchLimit
from cnnbench.report import leaderboard
from cnnbench.report.table.columns import COLUMNS, LeaderboardRow
from cnnbench.report.table.leaderboard import as_csv, as_json
from cnnbench.report.table.row_records import by_row
from ledger_rows import SEEDS, again, final, finals, majority, trial, two_rows


def test_leaderboard_has_the_agreed_columns_first_and_figures_computed_by_hand():
    table = leaderboard(two_rows())
    agreed = "rank_group,architecture,year,test_accuracy_mean,test_accuracy_ci95,n_seeds,params,macs,flops"
    assert as_csv(table).startswith(agreed + ",trials_completed,trials_pruned,trials_failed,")
    good, bad = table
    assert (good.architecture, bad.architecture) == ("good", "bad")
    assert (good.rank_group, bad.rank_group) == (1, 2)
    assert good.test_accuracy_mean == pytest.approx(0.94)
    assert good.test_accuracy_ci95 == pytest.approx(0.0)
    assert (good.trials_completed, good.trials_pruned, good.trials_failed) == (2, 2, 0)
    assert (bad.trials_completed, bad.trials_pruned, bad.trials_failed) == (1, 0, 3)
    assert good.validation_accuracy == 0.95
    assert good.search_device_seconds == 6.0  # four trials of 1.5 s
    assert good.final_device_seconds == 1.5
    assert (good.params, good.macs, good.flops) == (1000, 50_000, 100_000)
    assert good.components == {"activation": "relu"}
    assert good.hyperparameters == {"optimizer": "sgd", "lr": 0.1}


def test_csv_and_json_hold_the_same_rows():
    table = leaderboard(two_rows())
    lines, plain = list(csv.DictReader(io.StringIO(as_csv(table)))), json.loads(as_json(table))
    for line, row in zip(lines, plain, strict=True):
        assert list(line) == list(row)
        assert line["architecture"] == row["architecture"]
        assert float(line["test_accuracy_mean"]) == row["test_accuracy_mean"]
        assert line["rank_group"] == str(row["rank_group"])
        assert json.loads(line["hyperparameters"]) == row["hyperparameters"]
        assert line["latency_ms"] == "" and row["latency_ms"] is None  # it was not measured


def test_every_column_shows_fields_of_a_row_and_says_them_as_a_reader_sees_them():
    known = set(LeaderboardRow.__dataclass_fields__)
    assert all(set(column.fields) <= known for column in COLUMNS)
    (row, _), columns = leaderboard(two_rows()), {column.key: column for column in COLUMNS}
    assert columns["accuracy"].words(row) == "94.00 ± 0.00"
    assert columns["params"].words(row) == "1.00\u202fk"
    assert columns["trials"].words(row) == "2/2/0"
    assert columns["latency"].words(row) is None and columns["latency"].cell(row) == "\u2013"


def test_rows_without_finals_stand_last_without_rank_and_say_why():
    records = [
        *two_rows(),
        trial("none_yet", 0, 0.99),
        *(trial("broken", n, None, status="diverged", reason=f"at step {n + 3}") for n in range(2)),
        *(final("holed", s, 0.99) for s in SEEDS[:5]),
        final("holed", SEEDS[5], 0.0, test=None, status="failed", reason="killed"),
    ]
    table = leaderboard(records, rows=["good", "never_ran"])
    rows = {row.architecture: row for row in table}
    assert list(rows) == ["good", "bad", "holed", "never_ran", "none_yet", "broken"]
    assert [row.rank_group for row in rows.values()] == [1, 2, None, None, None, None]
    assert rows["holed"].remark == "5 of 6 finals: 1 failed (killed)"
    assert rows["holed"].test_accuracy_mean == pytest.approx(0.99)
    assert rows["never_ran"].remark == "nothing has run yet"
    assert rows["never_ran"].params is None
    assert rows["none_yet"].remark == "no final yet"
    assert rows["broken"].remark == "no trial completed: 2 diverged (first: at step 3)"
    assert rows["broken"].hyperparameters == {}  # none was chosen


def test_the_later_of_two_records_with_one_id_counts():
    records = [trial("a", 0, None, status="failed"), trial("a", 0, 0.9)]
    row = leaderboard(records)[0]
    assert (row.trials_completed, row.trials_failed) == (1, 0)


def test_records_of_two_studies_are_refused():
    with pytest.raises(ValueError, match="other, tiny"):
        leaderboard([trial("a", 0, 0.9), trial("b", 0, 0.9, study="other")])


def test_chosen_trial_is_the_best_one_with_the_configuration_of_the_finals():
    records = [
        trial("a", 0, 0.90),
        trial("a", 1, 0.92),
        trial("a", 2, 0.99, hyperparameters={"optimizer": "adam", "lr": 0.1}),
        final("a", 1000, 0.9),
    ]
    (row,) = by_row(records)
    assert row.chosen == records[1]
    assert by_row(records[:3])[0].chosen == records[2]


def test_a_component_that_reached_no_site_is_remarked():
    records = [final("a", s, 0.9, components={"dropout": {"value": 0.2, "sites": 0}}) for s in SEEDS]
    assert leaderboard(records)[0].remark.startswith("dropout: no such site in this network")


# ---------------------------------------------------------------- ranks within one search budget


def searched(row: str, accuracy: float, trials: int, **changes):
    return [*(trial(row, n, 0.9, **changes) for n in range(trials)), *finals(row, accuracy)]


def board(records) -> dict[str, LeaderboardRow]:
    return {row.architecture: row for row in leaderboard(records)}


def test_rows_of_another_search_budget_stand_below_without_rank_and_change_no_p_value():
    equal = [*searched("a", 0.9, 4), *searched("b", 0.8, 4)]
    rows = board([*searched("more", 0.99, 5), *equal])
    assert [(name, row.rank_group) for name, row in rows.items()] == [("a", 1), ("b", 2), ("more", None)]
    assert rows["more"].remark == (
        "not ranked: its search had 5 trials of at most 10 epochs together, "
        "the ranked rows' 4 trials of at most 8 epochs together"
    )
    assert (rows["more"].test_accuracy_mean, rows["more"].p_best) == (pytest.approx(0.99), None)
    alone = board(equal)
    assert {name: rows[name] for name in alone} == alone


def test_more_epochs_are_another_budget_and_a_failed_trial_is_not():
    long = trial("a", 0, 0.9).budget.model_copy(update={"epochs_asked": 3})
    rows = board([*searched("a", 0.9, 2, budget=long), *searched("b", 0.8, 2), *searched("c", 0.7, 2, status="failed")])
    assert {name: row.rank_group for name, row in rows.items()} == {"b": 1, "c": 2, "a": None}
    assert [row.search_epochs_asked for row in rows.values()] == [4, 4, 6]


def test_of_two_budgets_as_common_the_larger_one_is_ranked():
    assert [row.rank_group for row in board([*searched("a", 0.9, 1), *searched("b", 0.8, 2)]).values()] == [1, None]


def test_rows_without_all_their_finals_have_no_say_in_the_ranked_budget():
    unfinished = [record for n in range(3) for record in searched(f"late{n}", 0.9, 5)[:7]]
    assert board([*unfinished, *searched("a", 0.5, 4)])["a"].rank_group == 1


def limited(row: str, seconds: list[float], amount: float = 10.0, trials: int = 5, accuracy: float = 0.9):
    """A row whose search might spend ``amount`` device-seconds in at most ``trials`` trials, and its finals."""
    limit = SearchLimit(unit="device_seconds", amount=amount, trials=trials)
    budget = trial("a", 0, 0.9).budget.model_copy(update={"search_limit": limit})
    spent = [budget.model_copy(update={"device_seconds": each}) for each in seconds]
    return [*(trial(row, n, 0.9, budget=each) for n, each in enumerate(spent)), *finals(row, accuracy)]


def test_rows_of_equal_device_seconds_are_ranked_together_whatever_trials_they_had():
    many, few, capped = (
        limited("many", [3.0] * 4),
        limited("few", [6.0, 4.5], accuracy=0.8),
        limited("capped", [0.5] * 5),
    )
    rows = board([*many, *few, *capped])
    assert {name: row.rank_group is None for name, row in rows.items()} == dict.fromkeys(rows, False)


def test_a_row_whose_device_seconds_were_cut_short_or_others_is_not_ranked_with_them():
    equal = [*limited("a", [3.0] * 4), *limited("b", [3.0] * 4, accuracy=0.8)]
    rows = board([*equal, *limited("cut", [3.0, 1.0], accuracy=0.99), *limited("less", [9.0], amount=9.0)])
    assert {name: row.rank_group for name, row in rows.items()} == {"a": 1, "b": 2, "cut": None, "less": None}
    assert rows["cut"].remark == (
        "not ranked: its search had at most 2 trials of 4 device-seconds together, "
        "the ranked rows' at most 5 trials of 10 device-seconds together"
    )


# ---------------------------------------------------------------- sampling error and controls


def test_sampling_error_is_that_of_the_mean_on_these_test_images():
    row = board(finals("a", 0.9))["a"]
    assert row.test_sampling_error == pytest.approx(0.03)  # sqrt(0.9 * 0.1 / 100)
    assert board([trial("a", 0, 0.9)])["a"].test_sampling_error is None


def test_an_aa_control_is_paired_by_index_ranked_with_its_original_and_marked():
    chance = (0.95, 0.87, 0.93, 0.89, 0.91, 0.89)
    controls = [again(each, accuracy) for each, accuracy in zip(finals("a", 0.90), chance, strict=True)]
    rows = board([*searched("a", 0.90, 4), *searched("b", 0.80, 4), *controls])
    assert [(name, row.rank_group) for name, row in rows.items()] == [("a", 1), ("a_aa", 1), ("b", 2)]
    assert rows["a_aa"].remark == "A/A control of a: the same configuration, other seeds"
    assert (rows["a_aa"].control, rows["a_aa"].control_of, rows["a_aa"].n_seeds) == ("a/a", "a", 6)
    control = rows["a_aa"]
    assert (control.trials_completed, control.search_epochs, control.validation_accuracy) == (None, None, None)
    # A control comes last in its group and is never the best, though its mean is higher here.
    assert rows["a_aa"].test_accuracy_mean > rows["a"].test_accuracy_mean
    assert rows["a"].p_best == 1


def test_the_original_of_a_control_is_the_row_of_its_configuration_and_name():
    wanted = finals("net_w0.5", 0.9)
    twins = [each.model_copy(update={"row": "net", "trial_id": f"net-{each.seed}"}) for each in wanted]
    control = again(wanted[0], 0.9)
    assert board([*twins, *wanted, control])["net_w0.5_aa"].control_of == "net_w0.5"
    assert board([*finals("other", 0.9), control])["net_w0.5_aa"].control_of is None


def test_the_majority_class_is_a_baseline_without_rank_and_closes_the_table():
    rows = board([majority(0.99), *finals("a", 0.9), trial("none_yet", 0, 0.5)])
    assert list(rows) == ["a", "none_yet", "majority_class"]
    baseline = rows["majority_class"]
    assert (baseline.rank_group, baseline.n_seeds, baseline.test_accuracy_mean) == (None, 1, 0.99)
    assert (baseline.year, baseline.test_accuracy_ci95, baseline.trials_failed) == (None, None, None)
    del rows["majority_class"]
    assert rows == board([*finals("a", 0.9), trial("none_yet", 0, 0.5)])
