"""The page and the terminal table: whole, self-contained, hostile names as text."""

import csv
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
from rich.console import Console

from cnnbench.report import plain_table, terminal_table, write_report
from cnnbench.report.page import leaderboard_page
from cnnbench.report.script import _FILES, script_hash
from invented_study import invented_study
from ledger_rows import SEEDS, final, finals, scored, trial, two_rows

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


def page_of(records, tmp_path, study=STUDY) -> str:
    return write_report(study, records, tmp_path, **FIXED).page.read_text(encoding="utf-8")


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
    assert len(html.encode()) < 600_000
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
        f"default-src 'none'; script-src '{script_hash(script[0])}'; style-src 'unsafe-inline'; "
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
    block = re.findall(r'<script type="application/json" class="data">(.*?)</script>', html, re.DOTALL)[0]
    assert json.loads(block)["rows"][0]["architecture"] == name
    written = next(csv.DictReader(io.StringIO((tmp_path / "leaderboard.csv").read_text())))["architecture"]
    assert written == (f"'{name}" if name.startswith("=") else name)  # never a formula


@pytest.mark.parametrize("rows", [0, 1, 300])
def test_a_study_of_any_number_of_rows_has_a_page(rows, tmp_path):
    records = [final(f"row{n}", seed, 0.5 + n / 1000) for n in range(rows) for seed in SEEDS[:2]]
    html = page_of(records, tmp_path)
    assert html.count('<th scope="row" class="name"') == rows


def test_rows_and_figures_are_readable_without_the_script(tmp_path):
    html = page_of(invented_study(epochs=4), tmp_path)
    bare = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert bare.count('<svg viewBox="0 0 600 400"') == 3  # MACs, parameters, year
    assert "99.17" in bare
    assert "no trial completed: 8 diverged" in bare


def test_tracking_uri_loses_its_password(tmp_path):
    uri = "https://me:canary@mlflow.example/x"
    write_report({**STUDY, "tracking_uri": uri}, two_rows(), tmp_path, generated_utc="now", tracking_uri=uri)
    html = (tmp_path / "index.html").read_text()
    assert "canary" not in html
    assert "https://mlflow.example/x" in html


def test_terminal_table_prints_names_as_text_and_plain_text_has_no_escapes(tmp_path):
    name = "[red]x[/red]"
    records = [*two_rows(), *(trial(name, n, 0.5) for n in range(4)), *finals(name, 0.5)]
    board = write_report(STUDY, records, tmp_path, **FIXED)
    console = Console(width=160, force_terminal=True, file=io.StringIO())
    console.print(terminal_table(board))
    assert "[red]x[/red]" in console.file.getvalue()
    lines = plain_table(board).splitlines()
    assert lines[0].split()[:2] == ["group", "architecture"]
    assert lines[1].split()[:5] == ["1", "good", "1998", "94.00", "±"]
    assert "2/2/0" in lines[1]
    assert "\x1b" not in plain_table(board)


def test_plain_table_of_no_rows_is_its_heading(tmp_path):
    board = write_report(STUDY, [], tmp_path, **FIXED)
    assert plain_table(replace(board)).splitlines()[0].startswith("group  architecture")


def test_report_needs_no_torch_ray_mlflow_or_optuna():
    code = "import sys, cnnbench.report; print(sorted({'torch', 'ray', 'mlflow', 'optuna'} & set(sys.modules)))"
    source = Path(leaderboard_page.__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=source)
    assert done.stdout.strip() == "[]"


def test_the_script_is_every_file_of_the_assets_once():
    files = {
        path.stem for path in resources.files("cnnbench.report").joinpath("assets").iterdir() if path.suffix == ".js"
    }
    assert sorted(_FILES) == sorted(files - {"joint"})  # which runs alone, on a page of several studies
    assert _FILES[-1] == "main"
