"""The report in Chromium: what a reader does with it, and that it asks nothing of anybody."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from cnnbench.report import write_report
from invented_study import invented_study
from ledger_rows import again, final, scored, trial

pytestmark = pytest.mark.browser

SCREENSHOTS = Path("build/screenshots")
STUDY = {"study": "invented", "budget": {"trials": 8, "epochs": 20}, "storage": "/home/someone/results"}
FIXED = {"generated_utc": "2026-01-02T03:04:05Z", "tracking_uri": None}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    board = write_report(STUDY, invented_study(), tmp_path_factory.mktemp("report"), **FIXED)
    return board.page.as_uri()


@pytest.fixture
def quiet_page(page: Page) -> Iterator[Page]:
    """A page that fails its test if it asks for anything but its own file, or if the console has anything to say."""
    said: list[str] = []
    page.on("console", lambda message: said.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: None if own(request.url) else said.append(f"request: {request.url}"))
    page.add_init_script(
        "window.refused = []; addEventListener('securitypolicyviolation', e => refused.push(e.violatedDirective))"
    )
    yield page
    assert page.evaluate("window.refused") == []
    assert said == []


def own(url: str) -> bool:
    return url.startswith("blob:") or (url.startswith("file:") and url.partition("#")[0].endswith("/index.html"))


def names(page: Page) -> list[str]:
    return page.locator("#board tbody tr:visible .name bdi").all_inner_texts()


def heading(page: Page, title: str):
    return page.locator("#board thead th").filter(has=page.get_by_role("button", name=title, exact=True))


def test_rows_come_in_rank_order_with_brackets_around_groups(quiet_page, report):
    quiet_page.goto(report)
    assert names(quiet_page)[0] == "resnet18"
    assert names(quiet_page)[5] == "resnet18_aa"  # a control, last in its group
    assert names(quiet_page)[-3:] == ["zfnet", "squeezenet", "majority_class"]
    expect(heading(quiet_page, "Group")).to_have_attribute("aria-sort", "ascending")
    groups = quiet_page.locator("#board tbody tr").evaluate_all("rows => rows.map(row => row.dataset.group)")
    assert groups == ["1"] * 6 + ["2"] * 3 + ["3"] + [""] * 3
    assert quiet_page.locator("#board tbody tr.first").count() == 4


def test_a_click_sorts_and_a_second_one_turns_the_order_round(quiet_page, report):
    quiet_page.goto(report)
    heading(quiet_page, "Parameters").get_by_role("button").click()
    expect(heading(quiet_page, "Parameters")).to_have_attribute("aria-sort", "ascending")
    expect(heading(quiet_page, "Group")).to_have_attribute("aria-sort", "none")
    assert names(quiet_page)[3] == "lenet5"  # after the baseline and the two that have 1,000
    assert names(quiet_page)[-2:] == ["resnet18", "resnet18_aa"]  # one network: a tie keeps the order of ranks
    heading(quiet_page, "Parameters").get_by_role("button").click()
    assert names(quiet_page)[0] == "resnet18"
    expect(quiet_page.get_by_role("status")).to_have_text("sorted by Parameters, descending")


def test_the_keyboard_sorts_too_and_missing_values_stay_last(quiet_page, report):
    quiet_page.goto(report)
    button = heading(quiet_page, "Mean ± 95 %").get_by_role("button")
    button.focus()
    for expected in ("resnet18", "majority_class"):
        quiet_page.keyboard.press("Enter")
        assert names(quiet_page)[0] == expected
        assert names(quiet_page)[-2:] == ["zfnet", "squeezenet"]
    heading(quiet_page, "Architecture").get_by_role("button").focus()
    quiet_page.keyboard.press("Space")
    assert names(quiet_page) == sorted(names(quiet_page))


def test_columns_behind_a_wide_cell_sort_by_their_own_values(quiet_page, report):
    quiet_page.goto(report)
    heading(quiet_page, "Failed").get_by_role("button").click()
    assert names(quiet_page)[0] == "zfnet"  # 8 failed; its reason spans three columns


def test_the_filter_wants_every_word(quiet_page, report):
    quiet_page.goto(report)
    quiet_page.get_by_label("Filter").fill("RESNET residual")
    assert names(quiet_page) == ["resnet18", "resnet20"]
    expect(quiet_page.get_by_role("status")).to_have_text("2 of 13 rows")
    quiet_page.get_by_label("Filter").fill("2018 efficient shuffle")
    assert names(quiet_page) == ["shufflenet_v2"]
    quiet_page.get_by_label("Filter").fill("")
    assert len(names(quiet_page)) == 13


def test_a_name_leads_to_its_open_details(quiet_page, report):
    quiet_page.goto(report)
    expect(quiet_page.locator("#row-2")).not_to_have_attribute("open", "")
    quiet_page.get_by_role("link", name="resnet20").click()
    expect(quiet_page.locator("#row-2")).to_have_attribute("open", "")
    expect(quiet_page.locator("#row-2")).to_contain_text("Confusion")


@pytest.mark.parametrize(("button", "start"), [("CSV", "rank_group,architecture,year,"), ("JSON", "[\n {\n")])
def test_the_table_can_be_downloaded(button, start, quiet_page, report):
    quiet_page.goto(report)
    with quiet_page.expect_download() as download:
        quiet_page.get_by_role("button", name=button, exact=True).click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert text.startswith(start)
    assert "squeezenet" in text
    assert download.value.suggested_filename == f"invented-leaderboard.{button.lower()}"


def test_pointing_at_a_chart_shows_its_values(quiet_page, report):
    quiet_page.goto(report)
    quiet_page.locator("#cost svg.wide .point[data-row=lenet5] .target").first.hover()
    expect(quiet_page.locator(".tip")).to_contain_text("lenet5")
    expect(quiet_page.locator("#board tr[data-row=lenet5]")).to_have_class("s8 first last lit")
    chart = quiet_page.locator("#curves svg.wide").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    quiet_page.mouse.move(box["x"] + box["width"] - 16, box["y"] + 40)
    expect(quiet_page.locator(".tip")).to_contain_text("epoch 20")
    quiet_page.mouse.move(2, 2)
    expect(quiet_page.locator(".tip")).to_be_hidden()


def test_pointing_at_a_tuning_curve_shows_its_values_and_at_a_row_its_band(quiet_page, report):
    quiet_page.goto(report)
    chart = quiet_page.locator("#tuning svg.wide")
    chart.scroll_into_view_if_needed()
    band = chart.locator(".band[data-row=lenet5]")
    expect(band).to_have_css("visibility", "hidden")  # nine bands at once would hide the curves
    box = chart.bounding_box()
    quiet_page.mouse.move(box["x"] + box["width"] - 16, box["y"] + 40)
    expect(quiet_page.locator(".tip")).to_contain_text("trials 8")
    quiet_page.locator("#tuning .legend li[data-row=lenet5]").hover()
    expect(band).to_have_css("visibility", "visible")


def test_the_page_says_what_the_aa_control_showed(quiet_page, report, tmp_path):
    quiet_page.goto(report)
    shown = quiet_page.locator("#leaderboard")
    expect(shown).to_contain_text("resnet18_aa is resnet18 again: the same configuration, other seeds (A/A control).")
    expect(shown).to_contain_text("both are in the best row's group.")
    expect(quiet_page.locator(".notices")).to_have_count(0)
    originals = [final("a", seed, 0.9) for seed in range(1000, 1006)]
    board = write_report(STUDY, [*originals, *(again(each, 0.8) for each in originals)], tmp_path, **FIXED)
    quiet_page.goto(board.page.as_uri())
    expect(quiet_page.locator(".notices")).to_contain_text("this ranking can't be trusted")


def test_hostile_names_run_nothing(quiet_page, tmp_path):
    name = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}"
    test = scored(0.9, (name, "b"))
    changes = {"hyperparameters": {name: name}, "family": name, "commit": name}
    records = [trial(name, 0, 0.9, **changes)]
    records += [final(name, seed, 0.9, test=test, **changes) for seed in range(1000, 1006)]
    board = write_report({"study": name, name: name}, records, tmp_path, **FIXED)
    quiet_page.goto(board.page.as_uri())
    assert names(quiet_page) == [name]
    assert quiet_page.locator("h1").inner_text().startswith("</script><script>alert(1)")
    quiet_page.locator("#cost svg.wide .target").first.hover()
    expect(quiet_page.locator(".tip")).to_contain_text("</script>")
    assert quiet_page.locator("img").count() == 0


def test_the_policy_refuses_a_script_that_is_not_ours(page, report):
    page.goto(report)
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    )
    assert page.evaluate("window.ran") is None


@pytest.mark.parametrize("width", [1440, 768, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_width_makes_the_page_scroll_sideways(width, scheme, quiet_page, report):
    quiet_page.set_viewport_size({"width": width, "height": 900})
    quiet_page.emulate_media(color_scheme=scheme)
    quiet_page.goto(report)
    quiet_page.locator("details.row").first.evaluate("row => row.open = true")
    assert quiet_page.evaluate("document.documentElement.scrollWidth") == width
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    quiet_page.screenshot(path=SCREENSHOTS / f"report-{width}-{scheme}.png", full_page=True)


def test_names_stay_in_sight_when_a_phone_scrolls_the_table(quiet_page, report):
    quiet_page.set_viewport_size({"width": 390, "height": 800})
    quiet_page.goto(report)
    quiet_page.locator(".scroll").first.evaluate("scroll => scroll.scrollLeft = 600")
    box = quiet_page.locator("#board tbody .name").first.bounding_box()
    assert 0 <= box["x"] < 100


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(scheme, quiet_page, report):
    quiet_page.emulate_media(color_scheme=scheme)
    quiet_page.goto(report)
    styles = "getComputedStyle(document.documentElement)"
    paper, *inks = quiet_page.evaluate(
        f"['--paper', '--ink', '--muted', '--accent', '--warn'].map(name => {styles}.getPropertyValue(name).trim())"
    )
    for ink in inks:
        assert contrast(ink, paper) >= 4.5, ink


def contrast(one: str, other: str) -> float:
    """WCAG 2.2 contrast ratio of two #rrggbb colours."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("records", ["none", "one row", "300 rows"])
def test_small_and_large_studies_have_working_pages(records, quiet_page, tmp_path):
    rows = {"none": 0, "one row": 1, "300 rows": 300}[records]
    ledger = [final(f"row{n}", seed, 0.5 + n / 1000) for n in range(rows) for seed in range(1000, 1006)]
    board = write_report(STUDY, ledger, tmp_path, **FIXED)
    quiet_page.goto(board.page.as_uri())
    assert len(names(quiet_page)) == rows
    heading(quiet_page, "Year").get_by_role("button").click()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    quiet_page.screenshot(path=SCREENSHOTS / f"report-{rows}-rows.png", full_page=rows < 300)
