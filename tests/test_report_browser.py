"""The leaderboard's table in Chromium: everything that a reader does with it."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from cnnbench.report import write_report
from cnnbench.report.source import MLflowRun
from invented_study import invented_study
from quiet_pages import Quiet, quiet_page

pytestmark = pytest.mark.browser

STUDY = {
    "study": "invented",
    "budget": {"trials": 8, "epochs": 20},
    "storage": "/home/someone/results",
    "defaults": {"lr": 0.1, "momentum": 0.9, "batch_size": 128, "activation": "original"},
}
SERVER = "https://mlflow.example"
RANKED = ["resnet18", "resnet20", "vgg11", "mobilenet_v2", "simple_cnn", "resnet18_aa", "convnext_femto"]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    records = invented_study()
    runs = {record.trial_id: MLflowRun("7", f"run-of-{record.trial_id}") for record in records}
    fixed = {"generated_utc": "2026-01-02T03:04:05Z", "tracking_uri": f"{SERVER}/?token=canary", "runs": runs}
    return write_report(STUDY, records, tmp_path_factory.mktemp("report"), **fixed).page.as_uri()


@pytest.fixture(scope="module")
def quiet(browser: Browser) -> Iterator[Quiet]:
    with quiet_page(browser) as one:
        yield one


@pytest.fixture
def page(quiet: Quiet, report: str) -> Iterator[Page]:
    yield quiet.open(report)
    quiet.check()


def rows(page: Page) -> Locator:
    return page.locator("#board tbody tr[data-row]:visible .name bdi")


def heading(page: Page, title: str) -> Locator:
    return page.locator("#board thead th").filter(has=page.get_by_role("button", name=title, exact=True))


def row(page: Page, name: str) -> Locator:
    return page.locator(f"#board tbody tr[data-row={name}]")


def cell(page: Page, name: str, column: str) -> Locator:
    return row(page, name).locator(f"[data-column={column}]").first


def chosen(page: Page, control: str) -> Locator:
    return page.locator(f".tools .{control}")


def address(page: Page) -> str:
    return page.evaluate("location.hash")


# ---------------------------------------------------------------- sorting


def test_rows_come_in_rank_order_with_brackets_around_groups(page):
    assert rows(page).all_inner_texts()[:7] == RANKED  # a control is the last of its group
    assert rows(page).all_inner_texts()[-3:] == ["zfnet", "squeezenet", "majority_class"]
    expect(heading(page, "Group")).to_have_attribute("aria-sort", "ascending")
    groups = page.locator("#board tbody tr").evaluate_all("rows => rows.map(row => row.dataset.group)")
    assert groups == ["1"] * 6 + ["2"] * 3 + ["3"] + [""] * 3
    expect(page.locator("#board tbody tr.first")).to_have_count(4)


def test_a_click_sorts_and_a_second_one_turns_the_order_round(page):
    heading(page, "Params").get_by_role("button").click()
    expect(heading(page, "Params")).to_have_attribute("aria-sort", "ascending")
    expect(heading(page, "Group")).to_have_attribute("aria-sort", "none")
    assert rows(page).all_inner_texts()[3] == "lenet5"  # after the baseline and the two that have 1,000
    assert rows(page).all_inner_texts()[-2:] == ["resnet18", "resnet18_aa"]  # a tie keeps the order of ranks
    heading(page, "Params").get_by_role("button").click()
    expect(rows(page).first).to_have_text("resnet18")
    expect(page.get_by_role("status")).to_have_text("sorted by Params, descending")


def test_the_keyboard_sorts_too_and_missing_values_stay_last(page):
    button = heading(page, "Mean ± 95 %").get_by_role("button")
    button.focus()
    for expected in ("resnet18", "majority_class"):
        page.keyboard.press("Enter")
        expect(rows(page).first).to_have_text(expected)
        assert rows(page).all_inner_texts()[-2:] == ["zfnet", "squeezenet"]
    heading(page, "Architecture").get_by_role("button").focus()
    page.keyboard.press("Space")
    expect(rows(page).first).to_have_text("alexnet")
    assert rows(page).all_inner_texts() == sorted(rows(page).all_inner_texts())


def test_every_column_sorts(page):
    page.get_by_text("Columns", exact=True).click()
    for box in page.locator(".chooser input").all():
        box.check()
    page.keyboard.press("Escape")
    headings = page.locator("#board thead th[data-first]")
    expect(headings).to_have_count(20)
    for one in headings.all()[1:]:
        first = one.get_attribute("data-first")
        one.get_by_role("button").click()
        expect(one).to_have_attribute("aria-sort", first)
    expect(rows(page)).to_have_count(13)


# ---------------------------------------------------------------- filters


def test_the_search_wants_every_word(page):
    search = chosen(page, "search")
    search.fill("RESNET residual")
    expect(rows(page)).to_have_text(["resnet18", "resnet20", "resnet18_aa"])
    expect(page.get_by_role("status")).to_have_text("3 of 13 rows")
    search.fill("2018 efficient shuffle")
    expect(rows(page)).to_have_text(["shufflenet_v2"])
    search.fill("")
    expect(rows(page)).to_have_count(13)


def test_filters_combine_and_reset_takes_them_back(page):
    chosen(page, "family").select_option("classic")
    expect(rows(page)).to_have_text(["simple_cnn", "alexnet", "lenet5", "zfnet", "squeezenet"])
    chosen(page, "from").fill("2012")
    chosen(page, "to").fill("2015")
    expect(rows(page)).to_have_text(["simple_cnn", "alexnet", "zfnet"])
    chosen(page, "status").select_option("ranked")
    expect(rows(page)).to_have_text(["simple_cnn", "alexnet"])
    chosen(page, "group").select_option("2")
    expect(rows(page)).to_have_text(["alexnet"])
    expect(row(page, "alexnet")).to_contain_class("first last")
    page.get_by_role("button", name="Reset").click()
    expect(rows(page)).to_have_count(13)
    assert address(page) == "#leaderboard"


@pytest.mark.parametrize(
    ("status", "count"), [("unranked", 3), ("controls", 2), ("networks", 11), ("failures", 4), ("ranked", 10)]
)
def test_status_filters(status, count, page):
    chosen(page, "status").select_option(status)
    expect(rows(page)).to_have_count(count)


# ---------------------------------------------------------------- columns


def test_columns_are_chosen_and_their_upper_headings_keep_up(page):
    over = page.locator("[data-over='Size and cost of one image']")
    expect(over).to_have_attribute("colspan", "4")
    page.get_by_text("Columns", exact=True).click()
    for name in ("Params", "MACs", "FLOPs"):
        page.locator(".chooser").get_by_label(name).uncheck()
    page.locator(".chooser").get_by_label("Hyperparameters").check()
    expect(over).to_have_attribute("colspan", "1")
    expect(cell(page, "resnet18", "macs")).to_be_hidden()
    expect(cell(page, "resnet18", "hyperparameters")).to_contain_text("optimizer sgd")
    page.locator(".chooser").get_by_label("ms (size and cost of one image)", exact=True).uncheck()
    expect(over).to_be_hidden()
    page.mouse.click(5, 5)
    expect(page.locator(".chooser .sheet")).to_be_hidden()
    assert "columns=group%2Carchitecture%2Cyear%2Caccuracy%2Cn%2C" in address(page)


# ---------------------------------------------------------------- comparison


def test_a_comparison_says_differences_and_colours_only_what_the_test_found(page):
    chosen(page, "compare").select_option("mobilenet_v2")
    found = cell(page, "lenet5", "accuracy")
    expect(found).to_have_text("−1.48significant, p = 0.031")
    expect(found).to_have_class("number start accuracy worse")
    not_found = cell(page, "shufflenet_v2", "accuracy")
    expect(not_found).to_have_text("−0.42not significant, p = 0.063")
    expect(not_found).to_have_class("number start accuracy")
    expect(cell(page, "majority_class", "accuracy")).to_have_text("−88.70not tested")
    expect(cell(page, "resnet18", "macs")).to_have_text("×5.9")
    expect(cell(page, "resnet18", "year")).to_have_text("−3")
    expect(cell(page, "resnet20", "completed")).to_have_text("+1")
    expect(cell(page, "vgg11", "components")).to_have_text("activation mish")
    assert cell(page, "vgg11", "accuracy").evaluate("c => getComputedStyle(c).backgroundColor") == cell(
        page, "vgg11", "macs"
    ).evaluate("c => getComputedStyle(c).backgroundColor")
    expect(cell(page, "mobilenet_v2", "accuracy")).to_contain_text("98.70 ± 0.15")
    expect(page.locator(".comparing")).to_contain_text("Differences from mobilenet_v2")
    chosen(page, "compare").select_option("")
    expect(found).to_contain_text("97.22 ± 0.26")
    expect(page.locator(".better, .worse").locator("visible=true")).to_have_count(0)


def test_every_pair_is_judged_by_the_leaderboards_own_test(page):
    data = json.loads(page.locator("script.data").text_content())
    pairs = data["pairs"]
    place = {name: number for number, name in enumerate(pairs["rows"])}
    for cells in data["rows"]:
        if cells["rank_group"] is not None:
            apart = (place[cells["architecture"]], place["resnet18"])
            p = pairs["p"][max(apart)][min(apart)] if apart[0] != apart[1] else 1.0
            assert p == pytest.approx(cells["p_best"], abs=1e-4)
            assert (p > 0.05) == (cells["rank_group"] == 1)


# ---------------------------------------------------------------- a row's details


def test_a_row_opens_in_place_to_all_that_is_known_of_it(page):
    button = row(page, "resnet20").get_by_role("button")
    expect(button).to_have_attribute("aria-expanded", "false")
    button.click()
    expect(button).to_have_attribute("aria-expanded", "true")
    pane = page.locator("#board tr.pane")
    expect(pane).to_have_count(1)
    assert row(page, "resnet20").evaluate("row => row.nextElementSibling.className") == "pane"
    for text in ("Configuration", "Confusion", "Test metrics by class", "Environment", "Accuracy by epoch", "Finals"):
        expect(pane).to_contain_text(text)
    expect(pane.locator(".own svg.narrow path.curve[d]")).to_have_count(2)
    expect(pane.locator(".configuration tr.changed th")).to_have_text(["activation", "lr", "batch_size"])
    link = pane.get_by_role("link", name="run-of-resnet20-final-0")
    expect(link).to_have_attribute("href", f"{SERVER}/#/experiments/7/runs/run-of-resnet20-final-0")
    heading(page, "MACs").get_by_role("button").click()  # a sorted table keeps details below their row
    assert row(page, "resnet20").evaluate("row => row.nextElementSibling.className") == "pane"
    chosen(page, "family").select_option("plain")
    expect(pane).to_be_hidden()
    chosen(page, "family").select_option("")
    button.press("Enter")
    expect(pane).to_have_count(0)


def test_a_rows_command_is_copied_and_its_button_compares(page):
    row(page, "lenet5").get_by_role("button").click()
    pane = page.locator("#board tr.pane")
    command = pane.locator(".command code").inner_text()
    assert command.startswith("cnnbench reproduce results/invented ")
    pane.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("status")).to_have_text("copied")
    assert page.evaluate("navigator.clipboard.readText()") == command
    pane.get_by_role("button", name="Compare with this row").click()
    expect(cell(page, "alexnet", "accuracy")).to_contain_text("significant")
    expect(chosen(page, "compare")).to_have_value("lenet5")


# ---------------------------------------------------------------- exports


def exported(page: Page, button: str) -> tuple[str, str]:
    page.get_by_text("Export", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    page.keyboard.press("Escape")
    return download.value.suggested_filename, Path(download.value.path()).read_text(encoding="utf-8")


def test_everything_comes_as_csv_and_json(page):
    name, text = exported(page, "CSV of all rows")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert (name, len(lines), lines[0]["architecture"]) == ("invented-all-rows.csv", 13, "resnet18")
    assert json.loads(lines[0]["hyperparameters"])["optimizer"] == "sgd"
    name, text = exported(page, "JSON with curves and trials")
    everything = json.loads(text)
    assert name == "invented-all-rows.json"
    assert len(everything["rows"]) == 13
    assert set(everything["panels"]) >= {"train_accuracy", "val_loss", "tuning"}
    assert everything["search"]["sampled_of"] == len(everything["search"]["trials"]) == 77


def test_the_view_comes_as_csv_json_and_markdown(page):
    chosen(page, "family").select_option("classic")
    chosen(page, "status").select_option("ranked")
    heading(page, "MACs").get_by_role("button").click()
    name, text = exported(page, "CSV of the view")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert name == "invented-view.csv"
    assert [line["architecture"] for line in lines] == ["lenet5", "simple_cnn", "alexnet"]
    assert list(lines[0])[:4] == ["rank_group", "architecture", "year", "test_accuracy_mean"]
    assert "hyperparameters" not in lines[0]  # a column that is not shown
    _, text = exported(page, "JSON of the view")
    assert [line["macs"] for line in json.loads(text)] == [416_520, 3_812_000, 9_431_000]
    page.get_by_text("Export", exact=True).click()
    page.get_by_role("button", name="Copy as Markdown").click()
    expect(page.get_by_role("status")).to_have_text("copied")
    table = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert table[0].startswith("| Group | Architecture | Year | Mean ± 95 % |")
    assert table[1].startswith("| ---: | --- | ---: | ---: |")
    assert table[2].startswith("| 3 | lenet5 | 1998 | 97.22 ± 0.26 | 6 |")
    assert len(table) == 5


# ---------------------------------------------------------------- the address


def test_the_view_stands_in_the_address_and_comes_back_from_it(quiet, page, report):
    chosen(page, "search").fill("net")
    chosen(page, "status").select_option("ranked")
    chosen(page, "compare").select_option("resnet18")
    heading(page, "MACs").get_by_role("button").click()
    heading(page, "MACs").get_by_role("button").click()
    row(page, "lenet5").get_by_role("button").click()
    view = address(page)
    assert view == "#sort=macs&order=descending&search=net&status=ranked&compare=resnet18&open=lenet5"
    order = rows(page).all_inner_texts()
    quiet.open(report + view)
    expect(rows(page)).to_have_text(order)
    expect(heading(page, "MACs")).to_have_attribute("aria-sort", "descending")
    expect(chosen(page, "search")).to_have_value("net")
    expect(cell(page, "lenet5", "accuracy")).to_contain_text("significant")
    expect(page.locator("#board tr.pane")).to_have_count(1)


def test_an_address_of_nonsense_shows_the_page_as_it_comes(quiet, page, report):
    quiet.open(f"{report}#sort=nothing&compare=nobody&open=nobody&columns=nothing,year&status=x&%F0=1")
    expect(rows(page)).to_have_count(13)
    expect(page.locator(".comparing")).to_be_hidden()
    expect(page.locator("#board thead th[data-first]:visible")).to_have_count(3)  # group, architecture, year


def test_a_link_to_a_rows_details_opens_it(quiet, page, report):
    quiet.open(f"{report}#row-2")
    expect(page.locator("#board tr.pane")).to_contain_text("resnet20")
    page.evaluate("location.hash = 'row-3'")
    expect(page.locator("#board tr.pane")).to_have_count(2)
