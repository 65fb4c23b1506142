"""The report claims no more than the statistics: its sentence, its notices, what it says of controls."""

from cnnbench.report import leaderboard
from cnnbench.report.table.comparison import control_statements
from cnnbench.report.table.row_records import by_row
from cnnbench.report.table.summary import notices, result_sentence
from ledger_rows import SEEDS, again, final, finals, majority, trial


def sentence(records) -> str:
    cells = leaderboard(records)
    return result_sentence(cells, "digits", 4)


def test_sentence_says_significant_only_where_the_test_found_it():
    said = sentence([*finals("a", 0.95, macs=10**6), *finals("b", 0.90, macs=10**4)])
    assert said == (
        "On digits, at 4 trials each, a has the highest test accuracy (95.00 ± 0.00 %, mean of 6 seeds), significantly "
        "above the other row; b has a mean 5.00 points lower at 1\u202f% of its MACs."
    )
    assert "significantly above" not in sentence([*finals("a", 0.95), *finals("b", 0.95)])


def test_sentence_calls_a_tie_a_tie():
    said = sentence([*finals("a", 0.95, macs=10**6), *finals("b", 0.95, macs=10**5), *finals("c", 0.2)])
    assert said == (
        "On digits, at 4 trials each, a (95.00 ± 0.00 %, mean of 6 seeds) and b tie for the highest test accuracy: "
        "none of them differs significantly from the first, and b needs 10\u202f% of its MACs."
    )


def test_sentence_with_few_seeds_one_row_and_no_finals():
    assert "3 seeds can't show a difference" in sentence([*finals("a", 0.95, SEEDS[:3]), *finals("b", 0.1, SEEDS[:3])])
    assert sentence(finals("a", 0.95)).endswith("there is no other row to compare it with.")
    assert (
        sentence([trial("a", 0, 0.9)])
        == "On digits, at 4 trials each: no row has all its finals yet, so nothing is ranked."
    )


def test_notices_name_unequal_budgets_and_few_seeds():
    records = [trial("a", 0, 0.9), trial("a", 1, 0.9), trial("b", 0, 0.9), *finals("a", 0.9, SEEDS[:2])]
    other_data = records[0].split.model_copy(update={"data_checksum": "c" * 64, "test": 100})
    records += [final("b", 1000, 0.9, split=other_data)]
    said = " ".join(notices(by_row(records)))
    assert "data (by checksum)" in said
    assert "only rows that had 2 trials of at most 4 epochs together are ranked; b stands below them" in said
    assert "With 2 seeds no difference" in said
    assert notices(by_row([trial("a", 0, 0.9), *finals("a", 0.9)])) == []


def test_a_sentence_never_speaks_of_a_control():
    best, other = finals("a", 0.95), finals("b", 0.90)
    controls = [*(again(each, 0.96) for each in best), majority(0.97)]
    assert sentence([*best, *other, *controls]) == sentence([*best, *other])
    assert sentence([*best, *controls]).endswith("there is no other row to compare it with.")


def test_a_lone_row_of_its_budget_is_compared_with_no_other():
    said = sentence([*(trial("a", n, 0.9) for n in range(2)), *finals("a", 0.9), *finals("b", 0.8)])
    assert said.endswith("there is no other row of its search budget to compare it with.")


def test_an_aa_control_in_the_best_group_is_said_and_one_outside_is_a_warning():
    def said(accuracy, records=()):
        controls = [again(original, accuracy) for original in finals("a", 0.9)]
        return control_statements(leaderboard([*finals("a", 0.9), *controls, *records]))

    (fine,), warnings = said(0.9)
    assert fine.endswith("the test finds no difference between the two: both are in the best row's group.")
    assert warnings == []
    fine, (warning,) = said(0.8)
    assert fine == []
    assert "groups 1 and 2: the test tells apart what is equal, so this ranking can't be trusted." in warning
    (fine,), _ = said(0.9, finals("b", 0.99))
    assert "both are in the same group 2" in fine
    assert control_statements(leaderboard([*finals("a", 0.9), majority(0.5)])) == ([], [])


def test_controls_make_no_notice_and_unfinished_searches_do():
    records = [trial("a", 0, 0.9), *finals("a", 0.9)]
    assert notices(by_row([*records, *(again(r, 0.9) for r in finals("a", 0.9)), majority(0.5)])) == []
    unfinished = [trial("a", 0, 0.9), trial("a", 1, 0.9), trial("b", 0, 0.9)]
    assert notices(by_row(unfinished)) == [
        "Rows have had unequal search budgets so far, 1 trial of at most 2 epochs to "
        "2 trials of at most 4 epochs together."
    ]
