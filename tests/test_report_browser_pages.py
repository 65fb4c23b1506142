"""Whole report pages in Chromium: figures, accessibility, widths and schemes, hostile names, studies of every size."""

import random
import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from cnnbench.ledger import TrialRecord
from cnnbench.report import write_report
from effect_rows import invented_effects, tuning
from large_study import SPACE, large_study
from ledger_rows import SEEDS, again, final, finals, scored, trial
from quiet_pages import Quiet, quiet_page

pytestmark = pytest.mark.browser

SCREENSHOTS = Path(__file__).parents[1] / "build" / "screenshots"
FIXED = {"generated_utc": "2026-01-02T03:04:05Z", "tracking_uri": None}
STUDY = {"study": "large", "space": SPACE, "defaults": {"lr": 0.1, "label_smoothing": 0.0}}
HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}",
    '"\' onmouseover=alert(3) x="',
    "\u202eevil\u202c שלום",
    "a" * 300,
    "\U0001f600 <svg onload=alert(4)>",
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A study with everything: twelve rows, effects, a failed row, controls, more trials than are drawn."""
    records = list(large_study(360, failed_row=True, epochs=12))
    rows = sorted({record.row for record in records if record.stage == "final" and not record.control})
    records += invented_effects(rows[:4], random.Random(3), "large")
    records += [tuning(rows[0], "gelu", factor, 0.9, study="large") for factor in (1.0, 3.0)]
    return write_report(STUDY, records, tmp_path_factory.mktemp("report"), **FIXED).page.as_uri()


@pytest.fixture(scope="module")
def quiet(browser: Browser) -> Iterator[Quiet]:
    with quiet_page(browser) as one:
        yield one


@pytest.fixture
def page(quiet: Quiet, report: str) -> Iterator[Page]:
    yield quiet.open(report)
    quiet.check()


def shot(page: Page, name: str, *, full: bool = True) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=full)


# ---------------------------------------------------------------- figures


FIGURES = ("accuracy-macs", "accuracy-params", "accuracy-latency_ms", "accuracy-year", "train_accuracy", "val_loss")
FIGURES += ("tuning", "trials", "importance", "effects")


def test_every_figure_says_what_to_see_and_has_a_table_and_both_buttons(page):
    for name in FIGURES:
        figure = page.locator(f"figure[data-figure={name}]")
        assert len(figure.locator("figcaption").inner_text()) > 60, name
        expect(figure.locator("details table tbody tr").first).to_be_attached()
        expect(figure.locator("[data-picture]")).to_have_text(["SVG", "PNG"])
    drawn = page.locator("figure[data-figure=trials] path.trial")
    assert 200 < drawn.count() <= 300
    said = page.locator("figure[data-figure=trials] figcaption")
    expect(said).to_contain_text(f"{drawn.count()} of ")
    expect(said).to_contain_text("an even sample")


@pytest.mark.parametrize("name", ["accuracy-macs", "trials", "effects", "importance", "val_loss"])
def test_a_figure_comes_as_svg_that_stands_alone(name, page):
    with page.expect_download() as download:
        page.locator(f"figure[data-figure={name}] [data-picture=svg]").click()
    assert download.value.suggested_filename == f"large-{name}.svg"
    root = ET.fromstring(Path(download.value.path()).read_text(encoding="utf-8"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    colours = {element.get("fill") for element in root.iter()} | {element.get("stroke") for element in root.iter()}
    assert len(colours) > 3
    assert not any(colour and ("var(" in colour or "color(" in colour) for colour in colours)
    assert not any(element.get("class") for element in root.iter())
    assert float(root.get("width")) >= 300


def test_an_effect_with_a_remark_is_seen_in_italics_also_in_the_picture(page):
    texts = page.locator("figure[data-figure=effects] svg.heat text")
    styles = texts.evaluate_all("all => all.map(one => [one.textContent, getComputedStyle(one).fontStyle])")
    (seen,) = [text for text, style in styles if style == "italic"]
    with page.expect_download() as download:
        page.locator("figure[data-figure=effects] [data-picture=svg]").click()
    root = ET.fromstring(Path(download.value.path()).read_text(encoding="utf-8"))
    assert [element.text for element in root.iter() if element.get("font-style") == "italic"] == [seen]


def test_a_figure_comes_as_png_of_twice_its_size(page):
    with page.expect_download() as download:
        page.locator("figure[data-figure=accuracy-params] [data-picture=png]").click()
    content = Path(download.value.path()).read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", content[16:24]) == (1200, 800)
    assert len(set(content)) > 200  # no empty picture


def test_pointing_at_a_chart_shows_its_values_and_lights_the_row(page):
    row = "modern_net_011"
    page.locator(f"figure[data-figure=accuracy-macs] svg.wide .point[data-row={row}] .target").hover()
    expect(page.locator(".tip")).to_contain_text(row)
    expect(page.locator(f"#board tr[data-row={row}]")).to_contain_class("lit")
    expect(page.locator(f"path.trial[data-row={row}]").first).to_contain_class("lit")
    chart = page.locator("figure[data-figure=val_accuracy] svg.wide")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 16, box["y"] + 40)
    expect(page.locator(".tip")).to_contain_text("epoch 12")
    page.mouse.move(2, 2)
    expect(page.locator(".tip")).to_be_hidden()


def test_pointing_at_a_row_in_the_legend_shows_its_band(page):
    row = "modern_net_011"
    band = page.locator(f"#tuning svg.wide .band[data-row={row}]")
    expect(band).to_have_css("visibility", "hidden")  # many bands at once would hide the curves
    page.locator(f"#tuning .legend li[data-row={row}]").hover()
    expect(band).to_have_css("visibility", "visible")


# ---------------------------------------------------------------- every reader


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(scheme, page):
    page.emulate_media(color_scheme=scheme)
    row = page.locator("#board tbody tr[data-row]").nth(1)
    row.get_by_role("button").click()
    page.locator(".tools .compare").select_option(index=1)
    page.locator("details").evaluate_all("all => all.forEach(each => { each.open = each.closest('#rows') === null; })")
    axe = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    bad = [
        f"{fault['impact']} {fault['id']}: {fault['nodes'][0]['html'][:160]} ({len(fault['nodes'])})"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
    ]
    assert bad == []
    assert len(found["passes"]) > 20  # it did look


@pytest.mark.parametrize("width", [1440, 768, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_width_makes_the_page_scroll_sideways(width, scheme, page):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.locator("#board tbody tr[data-row]").nth(1).get_by_role("button").click()
    expect(page.locator("#board tr.pane")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    shot(page, f"report-{width}-{scheme}")
    if width == 390:
        page.locator(".board-frame").evaluate("frame => frame.scrollLeft = 600")
        assert 0 <= page.locator("#board tbody .name").first.bounding_box()["x"] < 100  # names stay in sight
    page.set_viewport_size({"width": 1440, "height": 900})


def test_a_reader_without_scripts_has_the_table_the_figures_and_the_details(browser, report):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report)
    expect(page.locator("#board tbody tr")).to_have_count(15)
    expect(page.locator(".tools")).to_be_hidden()
    expect(page.locator("figure[data-figure=trials] svg")).to_be_visible()
    page.locator("#row-1 summary").first.click()
    expect(page.locator("#row-1")).to_contain_text("Confusion")
    context.close()


def test_it_prints_without_its_tools_and_moves_nothing_for_who_wants_that(page):
    page.locator("#board tbody tr[data-row]").nth(0).get_by_role("button").click()
    page.emulate_media(media="print", reduced_motion="reduce")
    expect(page.locator(".tools")).to_be_hidden()
    expect(page.locator(".pictures").first).to_be_hidden()
    expect(page.locator("#board tr.pane")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    page.emulate_media(media="screen", reduced_motion="no-preference")


# ---------------------------------------------------------------- hostile names


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_shown_as_text_and_run_nothing(name, quiet, tmp_path):
    test = scored(0.9, (name, "b"))
    split = final("x", 1000, 0.9).split.model_copy(update={"dataset": name})
    changes = {"hyperparameters": {name: name, "lr": 0.1}, "family": name, "architecture": name, "commit": name}
    changes |= {"components": {name: {"value": name, "sites": 1}}, "options": {name: name}}
    trials = [trial(name, n, 0.9 + n / 100, **{**changes, "hyperparameters": {name: n}}) for n in range(3)]
    records = [*trials, *(final(name, seed, 0.9, test=test, split=split, **changes) for seed in SEEDS)]
    study = {"study": name, name: name, "space": {name: {"choice": [0, 1, 2]}}, "defaults": {name: name}}
    page = quiet.open(write_report(study, records, tmp_path, **FIXED).page.as_uri())
    shown = name.replace("\u202e", "\ufffd").replace("\u202c", "\ufffd")
    expect(page.locator("#board tbody .name bdi")).to_have_text(shown)
    expect(page.locator("h1")).to_contain_text(shown[:40])
    page.locator("#board tbody .name button").click()
    expect(page.locator("#board tr.pane .configuration")).to_contain_text(shown[:60])
    page.locator(".tools .compare").select_option(index=1)
    page.locator(".tools .search").fill(name[:20])
    page.locator("figure[data-figure=accuracy-macs] svg.wide .target").first.hover()
    expect(page.locator(".tip")).to_contain_text(shown[:20])
    page.locator("path.trial").first.hover(force=True)
    with page.expect_download():
        page.locator("figure[data-figure=trials] [data-picture=svg]").click()
    assert page.locator("img").count() == 0
    assert "49" not in page.title()
    again_from_address = page.url
    quiet.open(again_from_address)
    expect(page.locator(".tools .search")).to_have_value(name[:20])
    assert page.evaluate("document.documentElement.scrollWidth") <= 1440
    quiet.check()


def test_the_policy_refuses_a_script_that_is_not_ours(browser, report):
    page = browser.new_page()
    page.goto(report)
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    )
    assert page.evaluate("window.ran") is None
    page.close()


# ---------------------------------------------------------------- studies of every size


def opened(quiet: Quiet, records: Sequence[TrialRecord], folder: Path, **study: Any) -> Page:
    return quiet.open(write_report({**STUDY, **study}, records, folder, **FIXED).page.as_uri())


def test_a_study_without_any_record_has_a_page(quiet, tmp_path):
    page = opened(quiet, [], tmp_path)
    expect(page.locator(".lead")).to_contain_text("nothing is ranked")
    shot(page, "report-nothing")
    quiet.check()


def test_a_study_of_one_architecture_has_a_page(quiet, tmp_path):
    page = opened(quiet, list(large_study(12, rows=1, epochs=8)), tmp_path)
    expect(page.locator(".lead")).to_contain_text("there is no other row to compare it with")
    expect(page.locator("#board tbody tr")).to_have_count(3)
    shot(page, "report-one-row")
    quiet.check()


def test_a_study_with_a_failed_architecture_says_why(quiet, tmp_path):
    page = opened(quiet, list(large_study(24, rows=3, failed_row=True, epochs=8)), tmp_path)
    expect(page.locator("#board tr[data-row=zfnet] .reason")).to_contain_text("no trial completed: 8 diverged")
    page.locator("#board tr[data-row=zfnet] button").click()
    expect(page.locator("#board tr.pane")).to_contain_text("no trial completed")
    shot(page, "report-failed-row")
    quiet.check()


def test_a_study_whose_finals_have_not_begun_has_a_page(quiet, tmp_path):
    page = opened(quiet, list(large_study(36, rows=3, finals=False, epochs=8)), tmp_path)
    expect(page.locator(".lead")).to_contain_text("no row has all its finals yet")
    expect(page.locator("figure[data-figure=trials]")).to_be_visible()
    shot(page, "report-no-finals")
    quiet.check()


def test_a_study_of_300_architectures_sorts_filters_and_compares(quiet, tmp_path):
    page = opened(quiet, list(large_study(600, rows=300, epochs=4)), tmp_path)
    shown = page.locator("#board tbody tr[data-row]:visible")
    expect(shown).to_have_count(302)
    page.locator("#board thead th[data-column=macs] button").click()
    page.locator(".tools .family").select_option("modern")
    expect(shown).to_have_count(61)
    page.locator(".tools .compare").select_option(index=1)
    expect(page.locator("#board .worse:visible, #board .better:visible").first).to_be_visible()
    shot(page, "report-300-rows", full=False)
    quiet.check()


def test_an_aa_control_that_is_told_apart_is_a_warning(quiet, tmp_path):
    originals = finals("a", 0.9)
    page = opened(quiet, [*originals, *(again(each, 0.8) for each in originals)], tmp_path, study="tiny")
    expect(page.locator(".notices")).to_contain_text("this ranking can't be trusted")
    quiet.check()
