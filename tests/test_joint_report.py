"""Several studies on one page: the joint table, the critical difference, a tab each, and the index of reports."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from cnnbench.commands import report as reporting
from cnnbench.report.several.index import write_index
from cnnbench.report.several.joint import join, joint_table
from cnnbench.report.several.joint_page import joint_csv, write_joint
from cnnbench.report.source import Source, SourceError
from cnnbench.report.table.text_tables import markdown
from large_study import large_study
from ledger_rows import finals, trial, two_rows
from quiet_pages import quiet_page

NOW = "2026-01-02T03:04:05Z"
SCREENSHOTS = Path("build/screenshots")
HOSTILE = (
    "<script>document.title='run'</script>",
    "</template></script><img src=x onerror=alert(1)>",
    "a&study=b#c",
    "\u202eevil",
)


def source(name: str, dataset: str, records=None) -> Source:
    """The study's records, on this data set."""
    moved = []
    for record in two_rows() if records is None else records:
        split = record.split.model_copy(update={"dataset": dataset})
        moved.append(record.model_copy(update={"study": name, "split": split}))
    return Source({"study": name}, tuple(moved))


def of(accuracies: dict[str, float]):
    """A row an accuracy, with one trial and six finals each."""
    return [record for row, mean in accuracies.items() for record in (trial(row, 0, mean), *finals(row, mean))]


def test_ranks_stand_side_by_side_and_their_mean_counts_rows_ranked_everywhere():
    one = source("one", "digits", of({"a": 0.9, "b": 0.8, "only_here": 0.85}))
    joint = join([one, source("two", "mnist", of({"b": 0.7, "a": 0.9}))])
    assert [(row.label, row.mean_rank) for row in joint.rows] == [("a", 1.0), ("b", 2.0), ("only_here", None)]
    assert joint.rows[2].cells[1] is None and joint.difference is None
    assert joint.sentence == "a is in the first rank group on all 2 data sets."
    assert joint.notices[-1] == "1 of 3 rows are not ranked in every study, and have no mean rank."
    lines = markdown(joint_table(joint)).splitlines()
    assert lines[0] == "| Architecture | Mean rank | `digits` | `mnist` |"
    assert lines[2] == "| `a` | 1.00 | 1: 90.00 ± 0.00 | 1: 90.00 ± 0.00 |" and lines[4].endswith("| – |")


def test_two_studies_of_one_data_set_count_as_one_and_are_told_apart():
    joint = join([source("x", "digits", of({"a": 0.9, "b": 0.8})), source("y", "digits", of({"a": 0.6, "b": 0.8}))])
    assert [board.label for board in joint.boards] == ["digits (x)", "digits (y)"] and joint.datasets == 1
    assert [(row.label, row.mean_rank) for row in joint.rows] == [("b", 1.0), ("a", 2.0)]  # 80 against a mean of 75
    with pytest.raises(SourceError, match="x: two of the studies have this name"):
        join([source("x", "digits"), source("x", "mnist")])


def test_studies_without_a_common_row_claim_nothing():
    joint = join([source("x", "digits", of({"a": 0.9})), source("y", "mnist", of({"b": 0.9}))])
    assert joint.sentence == "No row is ranked on all 2 data sets, so there is nothing to rank over them."
    assert join([source("x", "digits", []), source("y", "mnist")]).rows[0].mean_rank is None


def test_a_network_with_other_options_under_the_same_name_is_said():
    wide = [record.model_copy(update={"options": {"width": 2.0}}) for record in of({"a": 0.9})]
    joint = join([source("x", "digits", of({"a": 0.9})), source("y", "mnist", wide)])
    assert joint.notices[0] == "Not the same network, or not the same options, in all studies: a."


def test_from_five_data_sets_on_the_critical_difference_is_that_of_the_statistics(tmp_path):
    means = {"a": 0.9, "b": 0.8, "c": 0.7}
    sources = [source(f"s{n}", f"d{n}", of({row: mean + n / 100 for row, mean in means.items()})) for n in range(5)]
    assert join(sources[:4]).difference is None
    joint = join(sources)
    assert joint.difference is not None and list(joint.difference.mean_ranks) == [1.0, 2.0, 3.0]
    assert joint.difference.critical_distance == pytest.approx(2.343 * (12 / 30) ** 0.5, abs=1e-3)  # Demšar's table
    assert joint.difference.cliques == [("a", "b"), ("b", "c")]
    assert [joint.difference.tied_with(row) for row in "abc"] == [["b"], ["a", "c"], ["b"]]
    assert (
        joint.sentence
        == "Over 5 data sets, a has the best mean rank, 1.00 of 3; Nemenyi's test at 5 % does not tell b from it."
    )
    _, page = write_joint(sources, tmp_path, generated_utc=NOW)
    assert page.read_text().count('<line class="clique"') == 2 * 2  # wide and narrow


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text_and_end_no_template(name, tmp_path):
    tame = write_joint([source("x", "digits"), source("y", "mnist")], tmp_path / "tame", generated_utc=NOW)[
        1
    ].read_text()
    evil = [source(name, name, of({name: 0.9, "b": 0.5})), source("y", "mnist", of({name: 0.9, "b": 0.5}))]
    joint, page = write_joint(evil, tmp_path / "evil", generated_utc=NOW)
    html = page.read_text()
    for mark in ("<script", "</script", "<template", "</template", "<img"):
        assert html.count(mark) == tame.count(mark), mark
    assert "\u202e" not in html
    rows = csv.DictReader(io.StringIO(joint_csv(joint)), strict=True)
    assert {row["architecture"] for row in rows} == {name, "b"}


def test_a_report_lists_itself_in_the_index_of_its_folder_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, two = source("one", "digits"), source("two", "mnist")
    reporting.write([one], None)
    reporting.write([two], None)
    reporting.write([one, two], None)
    index = (tmp_path / "reports" / "index.html").read_text()
    assert re.findall(r'href="([^"]*)"', index) == ["joint/index.html", "one/index.html", "two/index.html"]
    assert (
        "On digits, at 4 trials each, good has the highest test accuracy" in index and "<bdi>2 studies</bdi>" in index
    )
    assert "<bdi>one</bdi>" in index
    before = index
    reporting.write([one], tmp_path / "elsewhere" / "one")
    assert not (tmp_path / "elsewhere" / "index.html").exists()
    (tmp_path / "reports" / "mine").mkdir()
    (tmp_path / "reports" / "mine" / "index.html").write_text("<title>not a leaderboard</title>")
    write_index(tmp_path / "reports")
    assert (tmp_path / "reports" / "index.html").read_text() == before


def test_a_hostile_folder_and_title_are_text_in_the_index(tmp_path):
    folder = "a'\"><b>&?#%"
    reporting.write([source("<i>x</i>", "</h2>digits")], tmp_path / folder)
    index = write_index(tmp_path).read_text()
    assert 'href="a%27%22%3E%3Cb%3E%26%3F%23%25/index.html"' in index
    assert "<i>" not in index and "<b>" not in index and index.count("</h2>") == 1


@pytest.mark.browser
def test_tabs_the_joint_table_and_the_diagram_in_a_browser(browser, tmp_path):
    evil = HOSTILE[1]
    names = [("one", "cifar10"), ("two", "cifar100"), ("three", "mnist"), ("four", "digits"), (evil, evil)]
    sources = [
        Source({"study": name}, tuple(large_study(24, rows=4, epochs=2, study=name, dataset=dataset)))
        for name, dataset in names
    ]
    joint, made = write_joint(sources, tmp_path, generated_utc=NOW)
    with quiet_page(browser) as quiet:
        page = quiet.open(made.as_uri())
        rows = page.locator("table.joint tbody tr")
        assert rows.count() == 4 and page.locator("svg.wide .dot").count() == 4
        expect(page.get_by_role("link", name="All", exact=True)).to_have_attribute("aria-current", "page")
        page.get_by_role("button", name="Architecture").click()
        assert rows.locator("th").all_inner_texts() == sorted(row.label for row in joint.rows)
        for kind, begins in (("svg", b"<svg"), ("png", b"\x89PNG")):
            with page.expect_download() as expected:
                page.locator(f"figure[data-figure=mean-ranks] [data-picture={kind}]").click()
            assert expected.value.suggested_filename == f"joint-mean-ranks.{kind}"
            assert Path(expected.value.path()).read_bytes().startswith(begins)
        page.get_by_text("As a table").click()
        assert page.locator("figure[data-figure=mean-ranks] tbody tr").count() == 4
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") == width
            page.screenshot(path=SCREENSHOTS / f"joint-{width}.png", full_page=True)
        quiet.check()
        page.get_by_role("link", name="mnist", exact=True).click()
        expect(page.locator("h1")).to_have_text("three")
        expect(page.get_by_role("link", name="mnist", exact=True)).to_have_attribute("aria-current", "page")
        expect(page.locator("html")).to_have_class(re.compile("script"))  # the study's own script runs
        assert page.title().startswith("three") and page.locator("table.joint").count() == 0
        quiet.check()
        page.locator("nav.studies a").last.click()
        expect(page.locator("h1")).to_have_text(evil)
        assert page.locator("img").count() == 0
        quiet.check()
        page.get_by_role("link", name="All", exact=True).click()
        expect(page.locator("h1")).to_have_text("5 studies")
        quiet.check()
    assert len(json.loads((tmp_path / "joint.json").read_text())) == 4 * 5
