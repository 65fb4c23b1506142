"""The leaderboard as Markdown, LaTeX, CSV and JSON: every name is text, whatever it holds."""

import csv
import io
import json
import re

import pytest
from typer.testing import CliRunner

from cnnbench.commands.cli import app
from cnnbench.ledger import Ledger
from cnnbench.report import leaderboard
from cnnbench.report.table.leaderboard import as_csv
from cnnbench.report.table.text_tables import latex, leaderboard_table, markdown
from ledger_rows import finals, trial, two_rows


def table(name: str):
    return leaderboard_table(leaderboard([*two_rows(), *finals(name, 0.5)]))


def folder(tmp_path, name="tiny", records=None):
    study = tmp_path / name
    for record in records or two_rows():
        Ledger(study / "ledger.jsonl").append(record.model_copy(update={"study": name}))
    (study / "study.json").write_text(json.dumps({"study": name, "reports": "reports"}))
    return study


def run(*arguments: object):
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_markdown_is_a_table_of_github():
    lines = markdown(leaderboard_table(leaderboard(two_rows()))).splitlines()
    assert lines[0] == "| Group | Architecture | Year | Test accuracy, % | n | Parameters | MACs | Trials |"
    assert lines[1] == "| ---: | :--- | ---: | ---: | ---: | ---: | ---: | ---: |"
    assert lines[2].startswith("| 1 | `good` | 1998 | 94.00 ± 0.00 | 6 | 1.00\u202fk | 50.0\u202fk | 2/2/0 |")
    assert lines[4] == "" and "paired max-T sign-flip test" in lines[5]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a|b", r"`a\|b`"),
        ("[x](https://evil.example)", "`[x](https://evil.example)`"),
        ("<img src=x>", "`<img src=x>`"),
        ("a`b", "``a`b``"),
        ("`", "`` ` ``"),
        ("a\nb", "`a\ufffdb`"),
        ("*_~@me", "`*_~@me`"),
    ],
)
def test_markdown_shows_a_name_as_code(name, written):
    text = markdown(table(name))
    line = next(line for line in text.splitlines() if written in line)
    assert len(re.findall(r"(?<!\\)\|", line)) == 9  # no name adds a column


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a_b&c%$#", r"a\_b\&c\%\$\#"),
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("x^2~", r"x\textasciicircum{}2\textasciitilde{}"),
        ("[2em]*", r"{[}2em{]}{*}"),
        ("a--b-c", "a-{}-b-c"),
        ('<"|`>', r"\textless{}\symbol{34}\textbar{}\symbol{96}\textgreater{}"),
        ("a\nb", "a?b"),
    ],
)
def test_latex_escapes_what_means_something_to_it(name, written):
    text = latex(table(name))
    line = next(line for line in text.splitlines() if written in line)
    assert line.endswith(r" \\") and line.count(" & ") == 7
    assert text.splitlines()[2] == r"\toprule" and r"94.00 $\pm$ 0.00" in text and r"1.00\,k" in text


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_name_is_a_formula_in_a_spreadsheet(name):
    rows = list(csv.DictReader(io.StringIO(as_csv(leaderboard(finals(name, 0.5))), newline=""), strict=True))
    assert rows[0]["architecture"] == f"'{name}".replace("\r", " ") and rows[0]["test_accuracy_mean"] == "0.5"
    assert leaderboard(finals(name, 0.5))[0].architecture == name


def test_the_command_prints_each_format_or_writes_it(tmp_path):
    study = folder(tmp_path)
    assert run(study, "--format", "md").stdout.startswith("| Group | Architecture |")
    assert run(study, "--format", "latex").stdout.startswith(r"% \usepackage{booktabs}")
    assert run(study, "--format", "csv").stdout.startswith("rank_group,architecture,")
    assert json.loads(run(study, "--format", "json").stdout)[0]["architecture"] == "good"
    assert run(study, "--format", "html", "--output", tmp_path / "deep" / "page.html").stdout == ""
    assert (tmp_path / "deep" / "page.html").read_text().startswith("<!doctype html>")
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tiny", "--format", "pdf"], "--format: unknown value 'pdf'; choose from md, latex, csv, json, html"),
        (["tiny", "--output", "x"], "--output: goes with --format"),
        (["tiny", "--format", "md", "--out", "x"], "--out: names the folder of a whole report"),
        ([], "give a study's folder"),
        (["none"], "none/study.json: no such file"),
        (["tiny", "--study", "tiny"], "--study: names a study of the MLflow store"),
        (["--tracking-uri", "sqlite:///x.db"], "name the study, as in --study digits"),
        (["tiny", "--tracking-uri", "sqlite:///x.db", "--study", "tiny"], "give either folders of studies"),
        (["--tracking-uri", "sqlite:///none.db", "--study", "tiny"], "sqlite:///none.db: no such file"),
        (["tiny", "tiny"], "tiny: two of the studies have this name"),
    ],
)
def test_what_cannot_be_made_is_said_and_nothing_is_written(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder(tmp_path)
    ran = run(*arguments)
    assert ran.exit_code == 2 and said in ran.stderr and "Traceback" not in ran.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny"]


def test_a_ledger_of_another_version_is_refused_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = folder(tmp_path)
    text = (study / "ledger.jsonl").read_text()
    (study / "ledger.jsonl").write_text(text.replace('"schema_version":1', '"schema_version":2'))
    ran = run(study)
    assert ran.exit_code == 2
    assert "line 1: schema version 2, but this cnnbench reads version 1; run the study again" in ran.stderr
    assert not (tmp_path / "reports").exists()


def test_a_last_line_that_was_not_written_whole_is_left_out_and_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = folder(tmp_path, records=[*two_rows(), trial("good", 4, 0.99)])
    whole = (study / "ledger.jsonl").read_bytes()
    (study / "ledger.jsonl").write_bytes(whole[:-40])
    ran = run(study)
    assert ran.exit_code == 0 and "dropped a last line that was not written whole" in ran.stderr
    rows = json.loads((tmp_path / "reports" / "tiny" / "leaderboard.json").read_text())
    assert [row["trials_completed"] for row in rows if row["architecture"] == "good"] == [2]
