"""Records of effects → paired differences, intervals, adjusted p-values, pooled means, and what the page shows."""

import csv
import io
import math
import random
import re

import numpy as np
import pytest

from cnnbench.report import effects_text, write_report
from cnnbench.report.effects.effect_table import effects_table, pooled_effects
from cnnbench.report.effects.effects_section import signed
from effect_rows import failed, measured, tuning
from ledger_rows import SEEDS, final, finals, scored, trial, two_rows

FIXED = {"generated_utc": "2026-01-02T03:04:05Z", "tracking_uri": None}


def line_of(records, value):
    (line,) = [line for line in effects_table(records).to_dict("records") if line["value"] == value]
    return line


def swaps(row, value, differences, base=0.9, **changes):
    """Finals of ``base`` are the caller's; these are measured effects, one a seed."""
    return [
        measured(row, value, seed, base + difference, **changes)
        for seed, difference in zip(SEEDS, differences, strict=True)
    ]


def test_an_effect_is_the_mean_paired_difference_with_students_interval():
    """Differences -1, -1, -1, -2, -2, -2 points: mean -1.5, s = sqrt(0.3), t(5) = 2.5706."""
    base = [final("net", seed, accuracy) for seed, accuracy in zip(SEEDS, (0.9, 0.8, 0.7, 0.9, 0.8, 0.7), strict=True)]
    swapped = [
        measured("net", "tanh", record.seed, record.test.accuracy - (0.01 if record.index < 3 else 0.02))
        for record in base
    ]
    line = line_of([*base, *reversed(swapped)], "tanh")
    assert line["delta"] == pytest.approx(-0.015)
    assert line["ci95"] == pytest.approx(2.5706 * math.sqrt(0.3) / math.sqrt(6) / 100, rel=1e-4)
    assert line["standard_error"] == pytest.approx(math.sqrt(0.3 / 6) / 100)
    assert line["p_value"] == 2 / 2**6 and line["n_seeds"] == 6 and line["remark"] == ""


def test_p_values_are_adjusted_over_all_comparisons_of_a_row_and_of_that_row_alone():
    """One sign differs: alone 4 of 64 patterns reach |mean|; beside a wilder comparison that lies below it, more do."""
    mixed = (0.02, 0.02, 0.02, 0.02, 0.02, -0.01)
    wild = (0.05, -0.05, 0.05, -0.05, 0.05, -0.01)
    alone = line_of([*finals("net", 0.9), *swaps("net", "elu", mixed)], "elu")["p_value"]
    assert alone == 4 / 64
    other = [*finals("other", 0.9), *swaps("other", "gelu", wild)]
    assert line_of([*finals("net", 0.9), *swaps("net", "elu", mixed), *other], "elu")["p_value"] == alone
    beside = [*finals("net", 0.9), *swaps("net", "elu", mixed), *swaps("net", "gelu", wild, component="x")]
    assert line_of(beside, "elu")["p_value"] > alone


def test_a_seed_that_diverged_is_said_and_leaves_no_p_value():
    records = [*finals("net", 0.9), *swaps("net", "gelu", (0.01,) * 6), *swaps("net", "tanh", (-0.01,) * 6)]
    records[-2] = failed("net", "tanh", records[-2].seed)
    line = line_of(records, "tanh")
    assert line["n_seeds"] == 5 and math.isnan(line["p_value"]) and line["remark"] == "5 of 6 seeds: 1 diverged"
    assert line_of(records, "gelu")["p_value"] == 2 / 2**6


def test_controls_and_search_trials_are_no_base_of_an_effect():
    base = finals("net", 0.9)
    control = final("net", 1000, 0.1, trial_id="c", control="a/a")
    records = [*base, control, trial("net", 0, 0.2), *swaps("net", "gelu", (0.01,) * 6)]
    assert line_of(records, "gelu")["delta"] == pytest.approx(0.01)


def test_a_component_that_no_learning_rate_trains_is_said():
    tunings = [tuning("net", "tanh", factor, None, status="diverged") for factor in (0.3, 1.0, 3.0)]
    line = line_of([*finals("net", 0.9), *tunings], "tanh")
    assert math.isnan(line["delta"]) and line["remark"] == "trained at no learning rate: 3 diverged"
    assert line_of([*finals("net", 0.9), tuning("net", "tanh", 1.0, 0.5)], "tanh")["remark"] == "not measured yet"


@pytest.mark.parametrize(("chosen", "remark"), [(1.0, ""), (3.0, "best at the lowest or highest learning rate tried")])
def test_a_learning_rate_at_the_edge_of_those_tried_is_said(chosen, remark):
    tunings = [tuning("net", "tanh", factor, 0.5) for factor in (0.3, 1.0, 3.0)]
    line = line_of([*finals("net", 0.9), *tunings, *swaps("net", "tanh", (0.0,) * 6, lr_factor=chosen)], "tanh")
    assert (line["lr_factor"], line["remark"]) == (chosen, remark)


def test_components_keep_their_order_and_values_come_best_first():
    records = [*finals("net", 0.9)]
    for component, value, difference in (("schedule", "step", 0), ("mixup", 0.0, -0.02), ("mixup", 0.2, 0.01)):
        records += swaps("net", value, (difference,) * 6, component=component)
    table = effects_table(records)
    assert list(zip(table["component"], table["value"], strict=True)) == [
        ("schedule", "step"),
        ("mixup", 0.2),
        ("mixup", 0.0),
    ]


# ---------------------------------------------------------------- over rows


def test_rows_known_equally_well_are_pooled_to_their_plain_mean():
    """Differences ±d around -1 and -3 points: equal standard errors, so equal weights; t(1) = 12.706, and the two
    effects' own standard error of the mean is |−1 − −3| / 2 = 1 point."""
    noise = (0.001, -0.001) * 3
    records = []
    for row, effect in (("a", -0.01), ("b", -0.03)):
        records += [*finals(row, 0.9), *swaps(row, "tanh", [effect + each for each in noise])]
    (line,) = pooled_effects(effects_table(records)).to_dict("records")
    assert line["delta"] == pytest.approx(-0.02) and line["n_rows"] == 2
    assert line["ci95"] == pytest.approx(0.12706, rel=1e-4)


def test_one_row_is_not_pooled_and_equal_differences_are_not_taken_for_certain():
    records = []
    for row, effect, values in (("a", 0.0, ["tanh"]), ("b", -0.02, ["tanh", "gelu"])):
        records += finals(row, 0.9)
        for value in values:
            records += swaps(row, value, (effect,) * 6)
    table = effects_table(records)
    assert list(pooled_effects(table)["value"]) == ["tanh"]
    assert min(table["standard_error"]) == pytest.approx(1 / 100 / 6)  # 1 / (m sqrt(6)) / sqrt(n): m = 100, n = 6


# ---------------------------------------------------------------- error rates


def _drawn(rng, effects, noise=0.003):
    """One row's records: finals, and a component each of these true effects; luck of the seed, and of each training."""
    seeds = 0.9 + 0.01 * rng.standard_normal(6)
    records = [_final(index, accuracy + noise * rng.standard_normal()) for index, accuracy in enumerate(seeds)]
    for number, effect in enumerate(effects):
        for index, accuracy in enumerate(seeds):
            reached = accuracy + effect + noise * rng.standard_normal()
            swapped = _SWAPPED[number][index]
            records.append(swapped.model_copy(update={"test": _METRICS.model_copy(update={"accuracy": reached})}))
    return records


_METRICS = scored(0.9)
_FINALS = [final("net", seed, 0.9) for seed in SEEDS]
_SWAPPED = [[measured("net", f"v{number}", seed, 0.9) for seed in SEEDS] for number in range(5)]


def _final(index, accuracy):
    return _FINALS[index].model_copy(update={"test": _METRICS.model_copy(update={"accuracy": accuracy})})


def test_five_null_components_give_a_false_effect_in_at_most_5_percent_of_rows():
    """400 rows; 1.96 binomial standard errors above 5 % is 7.1 %."""
    rng = np.random.default_rng(4)
    false = sum((effects_table(_drawn(rng, (0.0,) * 5))["p_value"] <= 0.05).any() for _ in range(400))
    assert false / 400 <= 0.071


def test_a_component_that_costs_a_point_is_found_among_four_null_ones_in_at_least_90_percent():
    """The noise of a paired difference is 0.42 points."""
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(100):
        table = effects_table(_drawn(rng, (0.0, 0.0, -0.01, 0.0, 0.0)))
        found += bool((table.loc[table["value"] == "v2", "p_value"] <= 0.05).all())
    assert found >= 90


# ---------------------------------------------------------------- the page


def with_effects():
    chance = random.Random(3)
    records = two_rows()
    for row, base in (("good", 0.94), ("bad", 0.72)):
        for value, effect in (("tanh", -0.1), ("gelu", 0.0)):
            luck = [effect + chance.uniform(-0.01, 0.01) for _ in SEEDS]
            records += swaps(row, value, luck, base=base)
    records += [tuning("bad", "elu", 1.0, None, status="diverged")]
    return records


def test_the_page_has_a_heat_map_and_the_exact_figures(tmp_path):
    board = write_report({"study": "tiny", "space": {}}, with_effects(), tmp_path, **FIXED)
    page = board.page.read_text(encoding="utf-8")
    section = re.search(r'<section id="effects".*?</section>', page, re.DOTALL).group(0)
    assert 'href="#effects"' in page and "The test set was read 24 times more" in section
    figures = effects_table(with_effects())
    for line in figures.to_dict("records"):
        if not math.isnan(line["delta"]):
            assert f"<bdi>{signed(line['delta'])}</bdi>" in section
    bold = re.findall(r'class="significant"[^>]*>([^<]*)<', section)
    assert len(bold) == sum(figures["p_value"] <= 0.05) == 2 and all(text.endswith("*") for text in bold)
    assert "activation tanh instead of relu in good" in section and "trained at no learning rate" in section
    assert section.count('class="worse"') + section.count('class="better"') == 4 + 2  # four swaps, two pooled
    rows = list(csv.DictReader(io.StringIO((tmp_path / "effects.csv").read_text())))
    assert [float(row["delta"]) for row in rows if row["delta"]] == list(figures["delta"].dropna())


def test_an_effect_with_a_remark_is_italic_in_the_heat_map_and_says_it(tmp_path):
    tunings = [tuning("good", "gelu", factor, accuracy) for factor, accuracy in ((0.3, 0.9), (1.0, 0.8), (3.0, 0.7))]
    swapped = swaps("good", "gelu", (0.01,) * 6, base=0.94, lr_factor=0.3)
    records = [*with_effects(), *tunings, *swapped]  # the last of a trial counts
    page = write_report({"study": "tiny", "space": {}}, records, tmp_path, **FIXED).page.read_text(encoding="utf-8")
    (drawn,) = re.findall(r"<g[^>]*><title>([^<]*)</title><rect[^>]*></rect><text[^>]*class=\"[a-z ]*remarked\"", page)
    assert drawn.startswith("activation gelu instead of relu in good: +1.00 ± 0.00 points, 6 seeds; best at the lowest")


def test_a_report_without_effects_has_no_such_section_and_no_file(tmp_path):
    board = write_report({"study": "tiny"}, two_rows(), tmp_path, **FIXED)
    assert "#effects" not in board.page.read_text(encoding="utf-8")
    assert not (tmp_path / "effects.csv").exists() and effects_text(board) == ""


def test_the_terminal_has_a_line_for_each_effect_in_aligned_columns(tmp_path):
    board = write_report({"study": "tiny"}, with_effects(), tmp_path, **FIXED)
    head, *lines = effects_text(board).splitlines()
    assert len(lines) == 5
    for name in ("value", "row", "instead of"):
        assert all(line[head.index(name) - 1] == " " != line[head.index(name)] for line in lines)


def test_hostile_names_are_text_in_the_section(tmp_path):
    name = '<img src=x onerror="alert(1)">{{ 7 * 7 }}'
    records = [*finals(name, 0.9), *swaps(name, "gelu", (0.01,) * 6)]
    page = write_report({"study": "tiny"}, records, tmp_path, **FIXED).page.read_text(encoding="utf-8")
    assert "<img" not in page and "49" not in re.search(r'<section id="effects".*?</section>', page, re.DOTALL).group(0)


@pytest.mark.parametrize(
    ("share", "text"), [(0.00421, "+0.42"), (-0.1, "−10.00"), (-0.00001, "0.00"), (math.nan, "–"), (None, "–")]
)
def test_differences_are_signed_points(share, text):
    assert signed(share) == text
