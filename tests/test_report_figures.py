"""The report's figures and details: values computed by hand, labels that can be read."""

import re
from dataclasses import replace

import pytest

from cnnbench.report import leaderboard
from cnnbench.report.figures.accuracy_cost import COSTS, accuracy_figure, accuracy_points, accuracy_range, pareto_front
from cnnbench.report.figures.curves import curves_figure, mean_curve, panels
from cnnbench.report.figures.svg import Box, linear_axis, log_axis, place_labels
from cnnbench.report.figures.tuning import trial_score, tuning_panel
from cnnbench.report.formats import round_count
from cnnbench.report.page.details import accuracy_facts, details
from cnnbench.report.table.row_records import by_row
from invented_study import invented_study
from ledger_rows import curve, final, scored, trial, two_rows


def test_mean_curve_goes_as_far_as_all_runs_went():
    runs = [curve(3, 0.9, validation=False), curve(2, 0.9, validation=False)]
    expected = [(runs[0][epoch].train_loss + runs[1][epoch].train_loss) / 2 for epoch in range(2)]
    assert mean_curve(runs, "train_loss") == pytest.approx(expected)
    assert mean_curve(runs, "val_loss") == (None, None)
    assert mean_curve([], "train_loss") == ()


def test_curves_of_finals_are_training_ones_and_validation_comes_from_the_chosen_trial():
    shown = {panel.key: panel for panel in panels(by_row(two_rows()))}
    assert set(shown) == {"train_accuracy", "train_loss", "val_accuracy", "val_loss"}
    assert set(shown["val_loss"].curves) == {"good", "bad"}
    assert panels(by_row([trial("a", 0, None, status="failed", epochs=())])) == []


def test_pareto_front_holds_what_nothing_beats():
    rows = [("cheap", 1, 0.5), ("dear", 9, 0.9), ("beaten", 9, 0.8), ("worse", 2, 0.5), ("twin", 9, 0.9)]
    assert pareto_front(rows) == {"cheap", "dear", "twin"}


def test_axes_put_their_ticks_where_values_belong():
    linear = linear_axis(0.9, 1.0, 0, 100, lambda value: f"{value:.2f}")
    assert [text for _, text in linear.ticks] == ["0.90", "0.92", "0.94", "0.96", "0.98", "1.00"]
    assert linear(0.95) == pytest.approx(50)
    log = log_axis(1e5, 1e7, 0, 100, round_count)
    assert [text.replace("\u202f", " ") for _, text in log.ticks] == ["100 k", "1 M", "10 M"]
    assert log(1e6) == pytest.approx(50)


def test_a_row_far_below_does_not_squeeze_the_others():
    low, high = accuracy_range([(0.99, 0.001), (0.98, 0.002), (0.97, 0.002), (0.10, 0.0)])
    assert 0.9 < low < 0.968
    assert high > 0.991
    assert accuracy_range([(0.9, 0.0)])[0] < 0.9 < accuracy_range([(0.9, 0.0)])[1]


def test_labels_meet_neither_each_other_nor_a_mark():
    points = [(100.0 + 9 * (n % 5), 100.0 + 7 * (n // 5), f"network_{n}") for n in range(20)]
    marks = [Box(x - 5, y - 5, x + 5, y + 5) for x, y, _ in points]
    inside = Box(0, 0, 400, 300)
    boxes = [label.box for label in place_labels(points, marks, inside) if label]
    assert len(boxes) > 5
    for number, box in enumerate(boxes):
        assert inside.holds(box)
        assert not any(box.meets(other) for other in [*marks, *boxes[:number]])


@pytest.mark.parametrize("variant", ["wide", "narrow"])
def test_a_chart_shows_each_row_that_has_an_accuracy(variant):
    cells = leaderboard(invented_study(epochs=3))
    chart = accuracy_points(cells, "macs", {cell.architecture: "s0" for cell in cells})
    drawn = accuracy_figure(chart, COSTS[0], variant)
    assert set(re.findall(r'data-row="([^"]+)"', drawn)) == {point.row for point in chart}
    assert len(chart) == 9


def test_per_class_metrics_are_means_and_confusions_are_sums():
    (row,) = by_row([final("a", 1000, 0.9), final("a", 1001, 0.8)])
    shown = details(row)
    assert shown.classes[0].recall == pytest.approx(0.85)
    assert [[cell.images for cell in line] for line in shown.matrix] == [[85, 15], [15, 85]]
    assert shown.matrix[0][1].share == pytest.approx(0.15)


def test_many_classes_become_a_list_of_confusions():
    names = tuple(f"class{number}" for number in range(150))
    (row,) = by_row([final("a", 1000, 0.9, test=scored(0.9, names, images=1500))])
    shown = details(row)
    assert shown.matrix == ()
    assert (shown.confusions[0].images, len(shown.confusions), len(shown.classes)) == (1, 20, 100)
    assert shown.omitted_classes == 50


def test_two_rows_share_an_axis_however_far_apart_and_a_lone_straggler_is_cut_off():
    assert accuracy_range([(0.934, 0.001), (0.911, 0.002)])[0] < 0.909
    low, _ = accuracy_range([(0.99, 0.001), (0.985, 0.001), (0.988, 0.001), (0.3, 0.01)])
    assert low > 0.97


def test_tuning_curves_rise_to_the_best_trial_and_count_failed_ones_as_nothing():
    records = [trial("a", 0, 0.6), trial("a", 1, 0.9), trial("a", 2, None, status="failed", epochs=())]
    panel = tuning_panel(by_row([*records, trial("b", 0, None, status="diverged")]))
    assert panel.curves == {"a": pytest.approx((0.5, 0.8, 0.9))}  # of 0, 60, 90: mean 50; pairs 60, 90, 90
    assert panel.cell("a", 3).startswith("90.00 (")
    assert tuning_panel(by_row([trial("b", 0, None, status="diverged")])) is None


def test_a_pruned_trial_counts_with_its_best_accuracy_so_far_and_a_diverged_one_with_none():
    reached = curve(3, 0.8, validation=True)
    worse = replace(reached[-1], val_accuracy=0.1)
    assert trial_score(trial("a", 0, 0.1, status="pruned", epochs=(*reached[:2], worse))) == reached[1].val_accuracy
    assert trial_score(trial("a", 0, 0.1, epochs=(*reached[:2], worse))) == 0.1  # the search's own score of it
    assert trial_score(trial("a", 0, 0.7, status="diverged", epochs=reached)) == 0


@pytest.mark.parametrize("variant", ["wide", "narrow"])
def test_a_tuning_curve_is_drawn_inside_its_band(variant):
    panel = tuning_panel(by_row([trial("a", n, 0.5 + n / 20) for n in range(6)]))
    drawn = curves_figure(panel, {"a": "s0"}, variant)
    heights = {
        kind: [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]
        for kind, path in re.findall(r'<path class="(band|curve) s0" d="([^"]+)"', drawn)
    }
    high, low = heights["band"][:6], heights["band"][:5:-1]
    assert all(top <= y <= bottom for top, y, bottom in zip(high, heights["curve"], low, strict=True))
    assert heights["curve"] == sorted(heights["curve"], reverse=True)


def test_a_log_axis_without_round_numbers_still_has_ticks():
    axis = log_axis(0.062, 0.094, 0, 100, lambda value: f"{value:.2f}")
    assert [text for _, text in axis.ticks] == ["0.07", "0.08", "0.09"]
    assert axis((0.062 * 0.094) ** 0.5) == pytest.approx(50)


def test_accuracy_facts_by_hand():
    (row,) = by_row([final("a", 1000 + n, 0.90 + 0.02 * n) for n in range(3)])
    facts = dict(accuracy_facts(row))
    assert facts["mean"] == "92.00 %"
    assert facts["95 % interval of the mean, over seeds"] == "± 4.97 points"
    assert facts["95 % interval of a further run"] == "82.06 to 100.00 %"  # ± 9.94, at most 100
    assert facts["sampling error of 100 test images"] == "2.71 points (standard error)"  # sqrt(0.92 * 0.08 / 100)
