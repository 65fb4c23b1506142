"""``cnnbench models`` and ``cnnbench describe``: what they say, and what they refuse."""

import json

import pytest
import torch
from typer.testing import CliRunner, Result

from cnnbench.architectures import ARCHITECTURES
from cnnbench.commands import models
from cnnbench.commands.cli import app
from cnnbench.components.kinds import KINDS


def cnnbench(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result


def test_models_gives_each_architecture_its_facts_costs_smallest_size_and_sites():
    rows = json.loads(cnnbench("models", "resnet18", "lenet5", "--json").stdout)
    assert [row["name"] for row in rows] == ["resnet18", "lenet5"]
    resnet = rows[0]
    assert (resnet["year"], resnet["params"], resnet["stem"]) == (2015, 11_173_962, "small")
    assert resnet["flops"] == 2 * resnet["macs"] and resnet["smallest"] == {"small": 8, "imagenet": 32}
    assert set(resnet["components"]) == set(KINDS)
    # a stem and 8 blocks of two convolutions; nothing pools windows
    assert (resnet["components"]["activation"], resnet["components"]["window_pooling"]) == (17, 0)
    assert rows[1]["components"]["stochastic_depth"] == 0


def test_a_network_that_does_not_take_the_image_says_its_smallest_and_the_others_stand():
    rows = json.loads(cnnbench("models", "vgg16", "lenet5", "resnet20", "--image-size", "15", "--json").stdout)
    assert rows[0]["params"] is None and "the smallest it takes is 16" in rows[0]["error"]
    assert rows[2]["params"] == 269_722 and "error" not in rows[2]
    table = cnnbench("models", "vgg16", "resnet20", "--image-size", "15").stdout
    assert "269,722" in table and "vgg16: images of 15 pixels are too small" in table


def test_one_row_that_fails_does_not_end_the_list(monkeypatch):
    class Broken(torch.nn.Module):
        def __init__(self, classes: int, channels: int) -> None:
            super().__init__()
            raise RuntimeError("out of order")

    entry = type(ARCHITECTURES["lenet5"])("broken", Broken, {**ARCHITECTURES["lenet5"].facts})
    monkeypatch.setitem(ARCHITECTURES._entries, "broken", entry)
    broken, lenet = models.models(["broken", "lenet5"], image_size=32, channels=1, classes=10)
    assert broken["error"] == "RuntimeError: out of order" and lenet["params"] == 61_706


def test_many_rows_come_from_several_processes_in_order():
    names = ["lenet5", "resnet20", "simple_cnn", "squeezenet1_1"] * (models.ROWS_WORTH_PROCESSES // 4)
    heard: list[tuple[int, int]] = []
    rows = models.models(names, image_size=32, channels=3, classes=10, on_row=lambda *count: heard.append(count))
    assert [row["name"] for row in rows] == names and all(row["params"] for row in rows)
    assert heard == [(done, len(names)) for done in range(1, len(names) + 1)]


def test_an_unknown_name_exits_with_2_and_the_nearest_names():
    for verb in ("models", "describe"):
        said = cnnbench(verb, "lenet", code=2).stderr
        nearest = "lenet5, alexnet, googlenet; 'cnnbench models' lists all "
        assert said == f"unknown architecture 'lenet'; the nearest are {nearest}{len(ARCHITECTURES)}\n"


def test_describe_shows_each_layer_the_totals_and_the_sites():
    table = cnnbench("describe", "lenet5", "--channels", "1").stdout
    assert "c3       Conv2d     16×10×10     14       2   2,416  240,000" in table
    assert "61,706 parameters" in table and "416,520 MACs" in table and "small stem" in table
    assert "Not counted: MACs: " in table and "act1, act3, act5, act6" in table
    assert "would go to: the end of each residual branch" in table


def test_describe_as_json_has_what_was_put_in_and_every_layer():
    described = json.loads(
        cnnbench("describe", "resnet20", "--set", "activation=mish", "--set", "normalization=original", "--json").stdout
    )
    assert described["components"]["activation"]["value"] == "mish"
    assert [layer["type"] for layer in described["layers"]].count("Mish") == 19
    assert sum(layer["params"] for layer in described["layers"]) == described["cost"]["params"] == 269_722
    assert described["layers"][0]["field"] == {"size": [3, 3], "stride": [1, 1]}
    assert described["layers"][-1]["field"]["size"] == "image"
    assert {site["value"] for site in described["sites"]["activation"]} == {"mish"}


def test_width_depth_and_stem_change_what_is_described():
    def params(*options: str) -> int:
        return int(json.loads(cnnbench("describe", "resnet20", *options, "--json").stdout)["cost"]["params"])

    assert params("--depth", "1.5") == json.loads(cnnbench("models", "resnet32", "--json").stdout)[0]["params"]
    assert params("--width", "0.5") < params()
    assert "imagenet stem" in cnnbench("describe", "resnet18", "--stem", "imagenet").stdout


def test_describe_measures_speed_when_asked():
    described = json.loads(cnnbench("describe", "lenet5", "--speed", "--json").stdout)
    assert described["speed"]["latency_runs"] >= 5 and described["speed"]["throughput"] > 0


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            ("lenet5", "--set", "activation=rellu", "--set", "dropout=2", "--set", "shape=round", "--set", "attention"),
            [
                "activation: unknown value 'rellu'; the nearest are relu, ",
                "dropout: 2 is not allowed; give a number from 0 to 1",
                "unknown component 'shape'; the nearest are ",
                "--set attention: write --set kind=value",
            ],
        ),
        (("resnet20", "--set", "window_pooling=average"), ["resnet20: window_pooling=average reaches no site: "]),
        (("resnet18", "--image-size", "7"), ["resnet18: images of 7 pixels are too small"]),
        (("resnet18", "--stem", "tiny"), ["resnet18: unknown stem 'tiny'; choose from auto, small, imagenet"]),
    ],
)
def test_a_mistake_exits_with_2_and_a_line_each(arguments: tuple[str, ...], lines: list[str]):
    said = cnnbench("describe", *arguments, code=2).stderr.splitlines()
    assert len(said) == len(lines)
    assert all(line.startswith(start) for line, start in zip(said, lines, strict=True)), said
