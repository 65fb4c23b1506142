"""What a study is predicted to cost, by hand, and how the report sets it beside what was spent."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from cnnbench.networks.spec import NetworkSpec
from cnnbench.protocol.estimate import estimate
from cnnbench.protocol.price import predict
from cnnbench.protocol.row_probe import probe_network, rate_of
from cnnbench.report import write_report
from cnnbench.report.page.price_section import prices
from cnnbench.report.table.row_records import by_row
from cnnbench.study import Study, parse
from cnnbench.vocabulary import vocabulary
from ledger_rows import again, majority, two_rows

STUDY = """
study: tiny
data: {dataset: digits, image_size: 16}
architectures: [lenet5]
space: {lr: 0.1}
budget: {trials: 2, epochs: 3}
"""
PREDICTION: dict[str, Any] = {
    "rows": {
        "good": {"images_per_s": 100.0, "search_device_hours": 0.01, "finals_device_hours": 0.02},
        "bad": {"images_per_s": 400.0, "search_device_hours": 0.005, "finals_device_hours": 0.01},
    },
    "control_device_hours": 0.02,
    "device_hours": 0.065,
    "price_per_hour": 200.0,
    "price": 13.0,
}


def study(*changes: str) -> Study:
    return parse(STUDY, vocabulary(), changes)


def test_device_hours_are_images_by_images_per_second():
    predicted = predict(study(), {"fast": 100.0, "slow": 50.0}, train=900, held=300)
    # a trial: 3 epochs of 900 + 300 / 3 images; two of them: 6,000; six finals of 3 epochs of 1,200: 21,600
    fast = {"images_per_s": 100.0, "search_device_hours": 60 / 3600, "finals_device_hours": 216 / 3600}
    assert predicted["rows"]["fast"] == pytest.approx(fast)
    assert predicted["control_device_hours"] == pytest.approx(432 / 3600)  # the slow row may be the best
    assert predicted["device_hours"] == pytest.approx((60 + 216 + 120 + 432 + 432) / 3600)
    assert predicted["price"] is None


def test_money_is_device_hours_by_their_price():
    predicted = predict(study("resources.price_per_hour=2.5"), {"net": 100.0}, train=900, held=300)
    assert predicted["price"] == pytest.approx(2.5 * (60 + 216 + 216) / 3600)


def test_a_row_that_could_not_be_probed_has_no_prediction():
    predicted = predict(study(), {"net": 100.0, "huge": None}, train=900, held=300)
    assert set(predicted["rows"]) == {"net"} and predicted["unknown"] == ["huge"]
    assert predicted["device_hours"] == pytest.approx(492 / 3600)


def probed(precision: str, image_size: int = 16) -> dict[str, Any]:
    spec = NetworkSpec("lenet5", classes=10, channels=1, image_size=image_size)
    return probe_network(spec, precision, cpus=1, gpus=0.0)


def test_a_fixed_precision_is_measured_and_not_chosen():
    found = probed("bf16")
    assert (found["dtype"], found["channels_last"]) == ("bf16", False)
    assert list(found["images_per_s"]) == ["bf16"] and rate_of(found) == found["images_per_s"]["bf16"] > 0


def test_a_fixed_precision_that_can_not_be_probed_stops_nothing():
    found = probed("fp32", image_size=4)  # too small for LeNet-5
    assert rate_of(found) is None and "too small" in found["failures"]["fp32"]
    with pytest.raises(ValueError, match="too small"):
        probed("auto", image_size=4)


def test_the_plan_says_device_hours_and_what_they_cost():
    torch.set_num_threads(1)
    plan = estimate(study("precision=fp32", "resources.price_per_hour=1e6", "resources.concurrent_trials=1"))
    assert "control: the best row's finals again (25,884 images)" in plan
    hours, cost = re.search(r"([\d.]+) device-hours at the probed speed, .* costs ([\d,.]+);", plan).groups()
    assert abs(float(hours) - float(cost.replace(",", "")) / 1e6) <= 0.00501  # hours have two decimals


# ---------------------------------------------------------------- in the report


def test_predicted_hours_stand_beside_the_seconds_of_every_trial_spent():
    records = [*two_rows(), *(again(each, 0.9) for each in two_rows() if each.row == "good" and each.test)]
    table = prices(PREDICTION, by_row([*records, majority(0.5)]))
    lines = {line.label: line for line in table.rows}
    assert set(lines) == {"good", "bad", "good_aa"}  # the baseline trains nothing
    good, control = lines["good"], lines["good_aa"]
    assert (good.search_predicted, good.finals_predicted) == (36.0, 72.0)
    assert (good.search_spent, good.finals_spent) == (4 * 1.5, 6 * 1.5)
    assert (control.search_predicted, control.finals_predicted, control.finals_spent) == (None, 72.0, 9.0)
    assert (table.total.search_predicted, table.total.finals_predicted) == (54.0, 180.0)
    assert table.money == pytest.approx((200.0, 13.0, 200 * (12 + 27) / 3600))


def test_the_page_shows_the_prices_and_each_rows_id(tmp_path: Path):
    facts = {"generated_utc": "now", "tracking_uri": None}
    board = write_report({"study": "tiny"}, two_rows(), tmp_path, prediction=PREDICTION, **facts)
    page = board.page.read_text()
    assert "At 200 an hour: 13.00 predicted, 1.67 spent." in page  # 30 s: 8 trials, 12 finals of 1.5 s each
    ids = {row["architecture"]: row["row_id"] for row in json.loads((tmp_path / "leaderboard.json").read_text())}
    assert ids["good"] in page and ids["bad"] in page and ids["good"] != ids["bad"]
    without = write_report({"study": "tiny"}, two_rows(), tmp_path, **facts).page.read_text()
    assert "Device time, predicted" not in without
