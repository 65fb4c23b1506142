"""Architectures over several data sets: mean ranks, Friedman's test and Nemenyi's distance against published figures,
scipy and simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cnnbench.statistics import critical_difference

# Demšar 2006, table 6: AUC of four variants of C4.5 on 14 data sets; his text has the ranks and the test.
DEMSAR = {
    "C4.5": [0.763, 0.599, 0.954, 0.628, 0.882, 0.936, 0.661, 0.583, 0.775, 1.0, 0.94, 0.619, 0.972, 0.957],
    "C4.5+m": [0.768, 0.591, 0.971, 0.661, 0.888, 0.931, 0.668, 0.583, 0.838, 1.0, 0.962, 0.666, 0.981, 0.978],
    "C4.5+cf": [0.771, 0.59, 0.968, 0.654, 0.886, 0.916, 0.609, 0.563, 0.866, 1.0, 0.965, 0.614, 0.9751, 0.946],
    "C4.5+m+cf": [0.798, 0.569, 0.967, 0.657, 0.898, 0.931, 0.685, 0.625, 0.875, 1.0, 0.962, 0.669, 0.975, 0.970],
}


def table(values: dict[str, list[float]]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(values, orient="index").rename(columns=lambda number: f"set{number}")


def test_the_published_example_of_c45_comes_out():
    found = critical_difference(table(DEMSAR))
    assert found.mean_ranks.round(3).to_dict() == {
        "C4.5+m+cf": 1.964, "C4.5+m": 2.0, "C4.5+cf": 2.893, "C4.5": 3.143
    }  # fmt: skip
    assert found.critical_distance == pytest.approx(1.25, abs=0.005)
    assert critical_difference(table(DEMSAR), alpha=0.1).critical_distance == pytest.approx(1.12, abs=0.005)
    assert found.cliques == [("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5")]
    assert [set(c) for c in critical_difference(table(DEMSAR), alpha=0.1).cliques] == [
        {"C4.5+m+cf", "C4.5+m", "C4.5+cf"}, {"C4.5+cf", "C4.5"}
    ]  # fmt: skip


@pytest.mark.parametrize("levels", [1000, 4])  # few levels: many ties
def test_friedmans_p_value_is_scipys(levels):
    random = np.random.default_rng(0)
    for rows, sets in ((3, 5), (4, 9), (8, 12)):
        values = pd.DataFrame(random.integers(1, levels, size=(rows, sets)) / levels)
        expected = stats.friedmanchisquare(*values.to_numpy()).pvalue
        assert critical_difference(values).p_value == pytest.approx(expected)


@pytest.mark.parametrize(("rows", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_the_critical_distance_is_that_of_the_published_quantiles(rows, q):
    values = pd.DataFrame(np.random.default_rng(0).random((rows, 6)))
    expected = q * np.sqrt(rows * (rows + 1) / 36)
    assert critical_difference(values).critical_distance == pytest.approx(expected, abs=1e-3)


def test_ties_share_a_rank_and_all_tied_is_no_evidence():
    found = critical_difference(table({"a": [0.9] * 5, "b": [0.1 + 0.8] * 5, "c": [0.5] * 5}))  # 0.1 + 0.8 != 0.9
    assert found.mean_ranks.to_dict() == {"a": 1.5, "b": 1.5, "c": 3.0}
    equal = critical_difference(table({"a": [0.9] * 5, "b": [0.9] * 5}))
    assert (equal.p_value, equal.cliques) == (1.0, [("a", "b")])


def test_cliques_overlap_and_a_row_apart_from_all_is_in_none():
    # 20 data sets, mean ranks 1 to 6 with the distance 1.69: neighbours are tied, and no three.
    values = {name: [0.9 - 0.1 * place] * 20 for place, name in enumerate("abcdef")}
    found = critical_difference(table(values))
    assert found.cliques == [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "f")]
    two = critical_difference(table({"a": [0.9] * 20, "b": [0.8] * 20}))
    assert two.cliques == [] and two.p_value < 1e-4


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"a": [0.5] * 5}, "at least 2 architectures on 5 data sets, got 1 on 5"),
        ({"a": [0.5] * 4, "b": [0.5] * 4}, "at least 2 architectures on 5 data sets, got 2 on 4"),
        ({"a": [0.5] * 5, "b": [0.5] * 4 + [float("nan")]}, "'b' on 'set4': want an accuracy"),
        ({"a": [0.5] * 5, "b": [95.0] * 5}, "'b' on 'set0': want an accuracy"),
    ],
)
def test_wrong_scores_are_refused_by_name(values, said):
    with pytest.raises(ValueError, match=said):
        critical_difference(table(values))


def test_names_that_stand_twice_and_a_wrong_alpha_are_refused():
    scores = table({"a": [0.5] * 5, "b": [0.6] * 5})
    with pytest.raises(ValueError, match="architecture 'a' stands there twice"):
        critical_difference(scores.rename(index={"b": "a"}))
    with pytest.raises(ValueError, match="alpha"):
        critical_difference(scores, alpha=0.0)


@pytest.mark.parametrize("sets", [5, 12])
def test_equal_architectures_are_told_apart_in_at_most_five_percent(sets):
    """8 equal architectures, 2,000 draws: any pair outside a clique is an error."""
    random = np.random.default_rng(1)
    apart = 0
    for _ in range(2000):
        found = critical_difference(pd.DataFrame(random.random((8, sets))))
        apart += found.mean_ranks.max() - found.mean_ranks.min() >= found.critical_distance
    assert apart / 2000 <= 0.05


def test_an_architecture_that_is_best_everywhere_is_told_from_the_worst():
    """6 architectures on 8 data sets, 1.5 points apart from the rest with a deviation of 0.5."""
    random, found = np.random.default_rng(2), 0
    for _ in range(200):
        values = 0.9 + random.normal(0, 0.005, (6, 8))
        values[0] += 0.03
        result = critical_difference(pd.DataFrame(values))
        found += not any(0 in clique and len(clique) == 6 for clique in result.cliques)
    assert found / 200 >= 0.9
