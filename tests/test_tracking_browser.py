"""What a user does in the MLflow UI, in a real browser: find a study, sort its trials, filter by a component."""

import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from cnnbench.tracking.tracker import Shipped
from mlflow_servers import serving
from ray_heads import free_port
from tracked_study import PATIENT_S, make, point, record

pytestmark = pytest.mark.browser

SCREENSHOTS = Path(__file__).parents[1] / "build" / "screenshots"
ROWS = {"lenet5": 0.5, "resnet20": 0.7}  # the first trial's accuracy; each next one is 0.02 better


def _fill(folder: Path) -> None:
    """Ten trials of each of two architectures, every other one with Mish."""
    tracker = make(folder)
    for architecture, first in ROWS.items():
        for index in range(10):
            best = first + 0.02 * index
            tracker.finished(
                record(
                    f"{architecture}-{index}",
                    activation="mish" if index % 2 else "relu",
                    architecture=architecture,
                    row=architecture,
                    index=index,
                    score=best,
                    epochs=3,
                ).model_copy(update={"epochs": tuple(point(epoch, best * epoch / 3) for epoch in (1, 2, 3))})
            )
    assert tracker.close(PATIENT_S) == Shipped(synced=20, spooled=0)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage folder whose store has two architectures' trials."""
    folder = tmp_path_factory.mktemp("results")
    _fill(folder / "digits")
    return folder


@pytest.fixture(scope="module")
def server(storage: Path) -> Iterator[str]:
    """The address of a UI server that `cnnbench ui` started; what it said is in the storage folder's server.log."""
    port = free_port()
    command = [sys.executable, "-m", "cnnbench", "ui", "--storage", str(storage), "--port", str(port)]
    with serving(command, port, storage) as address:
        yield address


def _open_study(page: Page, server: str) -> None:
    page.set_viewport_size({"width": 1600, "height": 1000})
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    page.goto(f"{server}/#/experiments")
    page.get_by_text("Model training").click()
    page.get_by_role("link", name="digits", exact=True).click()
    expect(page.get_by_text("21 matching runs")).to_be_visible()


def _sort_by_accuracy(page: Page) -> None:
    """Sorted by a metric, the trials stand in the table without their parent above them."""
    page.get_by_role("button", name="Sort: Created").click()
    page.get_by_text("val_accuracy", exact=True).last.click()
    expect(page.get_by_role("button", name="Sort: val_accuracy")).to_be_visible()


def _search(page: Page, query: str, matching: int) -> None:
    box = page.get_by_placeholder("metrics.rmse < 1")
    box.fill(query)
    box.press("Enter")
    expect(page.get_by_text(f"{matching} matching runs")).to_be_visible()


def _shoot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"mlflow-{name}.png")


def _run_names(page: Page) -> list[str]:
    """The names in the table of runs, from top to bottom."""
    # in one call: between two, the table may be drawn anew
    script = "links => links.map(link => [link.getBoundingClientRect().y, link.innerText.trim()])"
    links: list[tuple[float, str]] = page.locator(".ag-row a[href*='/runs/']").evaluate_all(script)
    return [name for _, name in sorted(map(tuple, links)) if name]


def _expect_run_names(page: Page, names: list[str]) -> None:
    """The table begins with ``names``; it is drawn anew, row by row, after each sort and search."""
    deadline = time.monotonic() + 60
    while (seen := _run_names(page)[: len(names)]) != names and time.monotonic() < deadline:
        page.wait_for_timeout(200)
    assert seen == names


def test_the_trials_of_a_study_sort_by_accuracy_and_filter_by_component(page: Page, server: str) -> None:
    _open_study(page, server)
    _expect_run_names(page, ["study"])  # the trials are below it
    _shoot(page, "study")

    _sort_by_accuracy(page)
    expect(page.locator(".ag-row a", has_text="resnet20-9")).to_be_visible()
    _expect_run_names(page, [f"resnet20-{index}" for index in (9, 8, 7, 6, 5, 4)])
    _shoot(page, "sorted")

    _search(page, 'params.activation = "mish" and tags.architecture = "lenet5"', matching=5)
    expect(page.locator(".ag-row a", has_text="resnet20")).to_have_count(0)
    _expect_run_names(page, [f"lenet5-{index}" for index in (9, 7, 5, 3, 1)])
    _shoot(page, "filtered")


def test_the_address_that_cnnbench_ui_prints_opens_a_studys_trials_by_validation_accuracy(
    page: Page, server: str, storage: Path
) -> None:
    first, study = (storage / "server.log").read_text().splitlines()[:2]
    assert first.startswith(f"MLflow UI on {server} ")
    name, _, address = study.strip().partition(": ")
    assert name == "digits" and address.startswith(f"{server}/#/experiments/")
    page.set_viewport_size({"width": 1600, "height": 1000})
    page.goto(address)
    expect(page.get_by_role("button", name="Sort: val_accuracy")).to_be_visible(timeout=60_000)
    _expect_run_names(page, [f"resnet20-{index}" for index in (9, 8, 7, 6, 5, 4)])
    _shoot(page, "address")


def test_the_learning_curves_of_the_trials_are_drawn(page: Page, server: str) -> None:
    _open_study(page, server)
    _sort_by_accuracy(page)
    _search(page, 'tags.architecture = "resnet20" and metrics.val_accuracy > 0.8', matching=4)
    page.locator("label", has=page.locator("input[value='CHART']")).click()
    page.get_by_placeholder("Search metric charts").fill("val_accuracy")
    expect(page.locator(".js-plotly-plot .trace path.js-line").first).to_be_visible()
    expect(page.get_by_text("resnet20-9 (val_accuracy)")).to_be_visible()  # the legend
    _shoot(page, "curves")


def test_a_page_of_elsewhere_can_not_reach_the_server(server: str) -> None:
    request = urllib.request.Request(server, headers={"Host": "evil.test"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=30)
