"""The report: tables computed by hand, sentences that claim no more than the statistics, hostile names as text."""

import csv
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from cnnbench.report import leaderboard, plain_table, terminal_table, write_report
from cnnbench.report import page as page_module
from cnnbench.report.accuracy_cost import accuracy_figure, accuracy_points, accuracy_range, pareto_front
from cnnbench.report.curves import mean_curve, panels
from cnnbench.report.details import details
from cnnbench.report.formats import count, duration, listed, round_count, share, tally, visible, without_secrets
from cnnbench.report.leaderboard import COLUMNS, as_csv, as_json_rows
from cnnbench.report.provenance import protocol, study_settings
from cnnbench.report.rows import by_row
from cnnbench.report.summary import notices, result_sentence
from cnnbench.report.svg import Box, linear_axis, log_axis, place_labels
from ledger_rows import curve, final, invented_study, scored, trial

SEEDS = range(1000, 1006)
STUDY = {"study": "tiny", "finals": {"seeds": 6}}
FIXED = {"generated_utc": "2026-01-02T03:04:05Z", "tracking_uri": None}
HOSTILE = (
    "<script>document.title='run'</script>",
    "</script><img src=x onerror=\"document.title='run'\">",
    "\"'><svg onload=document.title='run'>",
    "{{ 7 * 7 }} ${document.title='run'}",
    "\u202eevil\u202c \u2066name",
    "שלום עולם",
    "a" * 300,
    "null\x00byte\u2028line",
    "=1+1",
)


def two_rows():
    good = [trial("good", 0, 0.9), trial("good", 1, 0.95), trial("good", 2, 0.5, status="pruned")]
    bad = [trial("bad", 0, 0.7), trial("bad", 1, None, status="diverged"), trial("bad", 2, None, status="failed")]
    bad.append(trial("bad", 3, None, status="out-of-memory"))
    return [*bad, *good, *(final("good", s, 0.94) for s in SEEDS), *(final("bad", s, 0.72) for s in SEEDS)]


def page_of(records, tmp_path, study=STUDY) -> str:
    return write_report(study, records, tmp_path, **FIXED).page.read_text(encoding="utf-8")


# ---------------------------------------------------------------- the table


def test_leaderboard_has_the_agreed_columns_first_and_figures_computed_by_hand():
    table = leaderboard(two_rows())
    agreed = "rank_group,architecture,year,test_accuracy_mean,test_accuracy_ci95,n_seeds,params,macs,flops"
    assert ",".join(table.columns).startswith(agreed + ",trials_completed,trials_pruned,trials_failed,")
    assert tuple(table.columns) == COLUMNS
    good, bad = as_json_rows(table)
    assert (good["architecture"], bad["architecture"]) == ("good", "bad")
    assert (good["rank_group"], bad["rank_group"]) == (1, 2)
    assert good["test_accuracy_mean"] == pytest.approx(0.94)
    assert good["test_accuracy_ci95"] == pytest.approx(0.0)
    assert (good["trials_completed"], good["trials_pruned"], good["trials_failed"]) == (2, 1, 0)
    assert (bad["trials_completed"], bad["trials_pruned"], bad["trials_failed"]) == (1, 0, 3)
    assert good["validation_accuracy"] == 0.95
    assert good["search_device_seconds"] == 4.5  # three trials of 1.5 s
    assert good["final_device_seconds"] == 1.5
    assert (good["params"], good["macs"], good["flops"]) == (1000, 50_000, 100_000)
    assert good["components"] == {"activation": "relu"}
    assert good["hyperparameters"] == {"optimizer": "sgd", "lr": 0.1}


def test_csv_and_json_hold_the_same_rows():
    table = leaderboard(two_rows())
    lines = list(csv.DictReader(io.StringIO(as_csv(table))))
    for line, row in zip(lines, as_json_rows(table), strict=True):
        assert line["architecture"] == row["architecture"]
        assert float(line["test_accuracy_mean"]) == row["test_accuracy_mean"]
        assert line["rank_group"] == str(row["rank_group"])
        assert json.loads(line["hyperparameters"]) == row["hyperparameters"]


def test_rows_without_finals_stand_last_without_rank_and_say_why():
    records = [
        *two_rows(),
        trial("none_yet", 0, 0.99),
        *(trial("broken", n, None, status="diverged", reason=f"at step {n + 3}") for n in range(2)),
        *(final("holed", s, 0.99) for s in SEEDS[:5]),
        final("holed", SEEDS[5], 0.0, test=None, status="failed", reason="killed"),
    ]
    table = leaderboard(records, rows=["good", "never_ran"])
    rows = {row["architecture"]: row for row in as_json_rows(table)}
    assert list(rows) == ["good", "bad", "holed", "never_ran", "none_yet", "broken"]
    assert [row["rank_group"] for row in rows.values()] == [1, 2, None, None, None, None]
    assert rows["holed"]["remark"] == "5 of 6 finals: 1 failed (killed)"
    assert rows["holed"]["test_accuracy_mean"] == pytest.approx(0.99)
    assert rows["never_ran"]["remark"] == "nothing has run yet"
    assert rows["never_ran"]["params"] is None
    assert rows["none_yet"]["remark"] == "no final yet"
    assert rows["broken"]["remark"] == "no trial completed: 2 diverged (first: at step 3)"
    assert rows["broken"]["hyperparameters"] == {}  # none was chosen


def test_the_later_of_two_records_with_one_id_counts():
    records = [trial("a", 0, None, status="failed"), trial("a", 0, 0.9)]
    row = as_json_rows(leaderboard(records))[0]
    assert (row["trials_completed"], row["trials_failed"]) == (1, 0)


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
    assert as_json_rows(leaderboard(records))[0]["remark"].startswith("dropout: no such site in this network")


# ---------------------------------------------------------------- the sentence


def sentence(records) -> str:
    cells = as_json_rows(leaderboard(records))
    return result_sentence(cells, "digits", 4)


def finals(row: str, accuracy: float, seeds=SEEDS, macs: int = 50_000):
    cost = final(row, 1000, 0.5).cost.model_copy(update={"macs": macs})
    return [final(row, seed, accuracy, cost=cost) for seed in seeds]


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
    assert "unequal numbers of search trials, 1 to 2" in said
    assert "With 2 seeds no difference" in said
    assert notices(by_row([trial("a", 0, 0.9), *finals("a", 0.9)])) == []


# ---------------------------------------------------------------- figures and details


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
    cells = as_json_rows(leaderboard(invented_study(epochs=3)))
    chart = accuracy_points(cells, "macs", {cell["architecture"]: "s0" for cell in cells})
    drawn = accuracy_figure(chart, "MACs", variant)
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


# ---------------------------------------------------------------- formats


def test_numbers_and_names_read_as_english():
    assert [count(n).replace("\u202f", " ") for n in (0, 7, 999, 1000, 999_999, 1_814_073, None)] == [
        *("0", "7", "999", "1.00 k", "1.00 M", "1.81 M", "–"),
    ]
    assert [duration(s).replace("\u202f", " ") for s in (0.04, 95.2, 400, 9000)] == [
        "0.04 s",
        "95.2 s",
        "6.67 min",
        "2.50 h",
    ]
    assert [round_count(n).replace("\u202f", " ") for n in (10_000_000, 500, 2500)] == ["10 M", "500", "2.5 k"]
    assert (share(3, 100), share(1, 2000)) == ("3\u202f%", "0.05\u202f%")
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(list("abcde")) == "a, b, c and 2 more"
    assert tally(["x", "x"]) == "x"
    assert tally(["x", "y", "x"]) == "x (2), y (1)"
    assert visible("a\u202eb\x00", 10) == "a\ufffdb\ufffd"
    assert visible("abcdef", 4) == "abc…"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:secret@host:5000/path?token=secret", "https://host:5000/path"),
        ("sqlite:////home/someone/results/mlflow.db", "sqlite:…/mlflow.db"),
        ("/home/someone/results", "…/results"),
        ("~/results/cifar", "…/cifar"),
        ("results", "results"),
        ("http://localhost:5000", "http://localhost:5000"),
    ],
)
def test_secrets_and_folders_are_left_out(text, shown):
    assert without_secrets(text) == shown


def test_study_settings_are_flat_and_without_folders():
    tree = {"data": {"root": "/home/someone/data"}, "architectures": [{"name": "a"}, "b"], "seeds": [1, 2], "none": {}}
    assert study_settings(tree) == [
        ("data.root", "…/data"),
        ("architectures.0.name", "a"),
        ("architectures.1", "b"),
        ("seeds", "1, 2"),
        ("none", "{}"),
    ]


def test_protocol_counts_test_reads_from_records():
    facts = dict(protocol(by_row(two_rows())))
    assert facts["Times the test set was read"] == "12"
    assert facts["Images in a search trial"] == "80 training, 20 validation, no test"
    assert facts["Seeds of the finals"] == "1000, 1001, 1002, 1003, 1004, 1005"


# ---------------------------------------------------------------- the page


def test_report_writes_three_files_and_repeats_to_the_byte(tmp_path):
    records = invented_study(epochs=4)
    board = write_report(STUDY, records, tmp_path / "a", **FIXED)
    write_report(STUDY, records, tmp_path / "b", **FIXED)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "index.html",
        "leaderboard.csv",
        "leaderboard.json",
    ]
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    assert board.page == tmp_path / "a" / "index.html"
    assert board.sentence in board.page.read_text(encoding="utf-8")
    assert json.loads((tmp_path / "a" / "leaderboard.json").read_text())[0]["architecture"] == "resnet18"


def test_page_is_one_small_file_that_names_no_other(tmp_path):
    html = page_of(invented_study(), tmp_path)
    assert len(html.encode()) < 300_000
    for tag in re.findall(r"<[a-z][^>]*>", html):
        assert not re.search(r"""\s(?:src|href|action|xlink:href|data)=["']?[^#"']""", tag), tag
    assert "url(" not in html
    assert "@import" not in html


def test_policy_comes_first_and_allows_only_this_script(tmp_path):
    html = page_of(two_rows(), tmp_path)
    head = html.partition("<head>")[2].lstrip()
    script = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert len(script) == 1
    policy = (
        f"default-src 'none'; script-src '{page_module.script_hash(script[0])}'; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    assert head.startswith(f'<meta http-equiv="Content-Security-Policy" content="{policy}">')
    assert not re.search(r"\son[a-z]+\s*=", html.replace(script[0], ""))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text_everywhere(name, tmp_path):
    test = scored(0.9, (name, "b"))
    split = final("x", 1000, 0.9).split.model_copy(update={"dataset": name})
    changes = {"hyperparameters": {name: name}, "components": {name: {"value": name, "sites": 1}}, "family": name}
    records = [
        trial(name, 0, 0.9, **changes, options={name: name}, reason=name, commit=name),
        *(final(name, seed, 0.9, test=test, split=split, **changes, options={name: name}) for seed in SEEDS),
        trial("other", 0, None, status="failed", reason=name),
    ]
    html = page_of(records, tmp_path, {"study": name, name: name})
    tame = page_of(two_rows(), tmp_path / "tame")
    for mark in ("<script", "</script", "<img", 'onerror="', "<svg onload"):
        assert html.count(mark) == tame.count(mark), mark
    assert "\u202e" not in html
    assert "49" not in re.findall(r"<h1>.*?</h1>", html)[0]
    block = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[0]
    assert json.loads(block)["rows"][0]["architecture"] == name
    assert next(csv.DictReader(io.StringIO((tmp_path / "leaderboard.csv").read_text())))["architecture"] == name


@pytest.mark.parametrize("rows", [0, 1, 300])
def test_a_study_of_any_number_of_rows_has_a_page(rows, tmp_path):
    records = [final(f"row{n}", seed, 0.5 + n / 1000) for n in range(rows) for seed in SEEDS[:2]]
    html = page_of(records, tmp_path)
    assert html.count('<th scope="row" class="name"') == rows


def test_rows_and_figures_are_readable_without_the_script(tmp_path):
    html = page_of(invented_study(epochs=4), tmp_path)
    bare = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert bare.count('<svg viewBox="0 0 600 400"') == 2
    assert "99.17" in bare
    assert "no trial completed: 8 diverged" in bare


def test_tracking_uri_loses_its_password(tmp_path):
    uri = "https://me:canary@mlflow.example/x"
    write_report({**STUDY, "tracking_uri": uri}, two_rows(), tmp_path, generated_utc="now", tracking_uri=uri)
    html = (tmp_path / "index.html").read_text()
    assert "canary" not in html
    assert "https://mlflow.example/x" in html


# ---------------------------------------------------------------- the terminal


def test_terminal_table_prints_names_as_text_and_plain_text_has_no_escapes(tmp_path):
    board = write_report(STUDY, [*two_rows(), *finals("[red]x[/red]", 0.5)], tmp_path, **FIXED)
    console = Console(width=160, force_terminal=True, file=io.StringIO())
    console.print(terminal_table(board))
    assert "[red]x[/red]" in console.file.getvalue()
    lines = plain_table(board).splitlines()
    assert lines[0].split()[:2] == ["group", "architecture"]
    assert lines[1].split()[:5] == ["1", "good", "1998", "94.00", "±"]
    assert "2/1/0" in lines[1]
    assert "\x1b" not in plain_table(board)


def test_plain_table_of_no_rows_is_its_heading(tmp_path):
    board = write_report(STUDY, [], tmp_path, **FIXED)
    assert plain_table(replace(board)).splitlines()[0].startswith("group  architecture")


def test_report_needs_no_torch_ray_mlflow_or_optuna():
    code = "import sys, cnnbench.report; print(sorted({'torch', 'ray', 'mlflow', 'optuna'} & set(sys.modules)))"
    source = Path(page_module.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=source)
    assert done.stdout.strip() == "[]"


def test_two_rows_share_an_axis_however_far_apart_and_a_lone_straggler_is_cut_off():
    assert accuracy_range([(0.934, 0.001), (0.911, 0.002)])[0] < 0.909
    low, _ = accuracy_range([(0.99, 0.001), (0.985, 0.001), (0.988, 0.001), (0.3, 0.01)])
    assert low > 0.97
