"""Architectures from outside: timm:NAME and package.module:callable, from the study file to the network."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from cnnbench.architectures import ARCHITECTURES
from cnnbench.networks.build import BuildError, build
from cnnbench.networks.spec import NetworkSpec
from cnnbench.protocol.plan import plan_rows
from cnnbench.study import Study, StudyError, parse
from cnnbench.vocabulary import vocabulary

NETWORKS = '''
import torch
from torch import nn

sep = "/"

def linear(num_classes, in_channels=3, *, image_size):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * image_size * image_size, num_classes))

class Conv(nn.Module):
    """Takes images of any size; width and depth are its own business."""

    def __init__(self, num_classes, in_channels, width=1.0, depth=1.0):
        super().__init__()
        channels = round(8 * width)
        convs = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(round(2 * depth))]
        self.features = nn.Sequential(nn.Conv2d(in_channels, channels, 3), *convs, nn.ReLU())
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))

def with_stem(num_classes, in_channels=3, *, stem):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1 if stem == "small" else 2), linear(num_classes, in_channels,
        image_size=1 if stem == "small" else 2))

def features(num_classes, in_channels=3):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_channels, 77))

def pair(num_classes, in_channels=3):
    class Pair(nn.Linear):
        def forward(self, x):
            return x, x
    return Pair(1, 1)

def fixed(num_classes, in_channels=3):
    return linear(num_classes, in_channels, image_size=224)

def nothing(num_classes, in_channels=3):
    pass

def broken(num_classes, in_channels=3):
    raise RuntimeError("no such\\nthing")

def one_argument(num_classes):
    return nn.Linear(1, 1)

def with_numbers(num_classes, in_channels=3):
    return nn.Linear(int(torch.ones(1).item()), 1)
'''


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder with a user's modules, which a console script does not have on its path."""
    (tmp_path / "their_networks.py").write_text(NETWORKS)
    (tmp_path / "their_typo.py").write_text("import torch.nothing_of_the_kind")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield
    for name in ("their_networks", "their_typo"):
        sys.modules.pop(name, None)


def meta(name: str, *, classes: int = 4, channels: int = 3, image_size: int = 16, **options: object) -> nn.Module:
    with torch.device("meta"):
        return build(NetworkSpec(name, classes=classes, channels=channels, image_size=image_size, **options))[0]


def study(*architectures: str, space: str = "{batch_size: 8}") -> Study:
    listed = ", ".join(architectures)
    return parse(
        f"study: doors\ndata: {{dataset: digits, image_size: 16}}\narchitectures: [{listed}]\n"
        f"space: {space}\nbudget: {{trials: 1, epochs: 1}}",
        vocabulary(),
    )


@pytest.mark.parametrize(("name", "channels"), [("their_networks:linear", 1), ("their_networks:Conv", 3)])
def test_a_users_callable_in_the_working_directory_is_built_and_gives_logits(name: str, channels: int):
    network, report = build(NetworkSpec(name, classes=4, channels=channels, image_size=16))
    assert network(torch.zeros(2, channels, 16, 16)).shape == (2, 4)
    assert report.stem == "own"


def test_a_users_callable_gets_the_multipliers_that_it_names_and_no_others():
    assert meta("their_networks:Conv", width=2.0).fc.in_features == 16
    assert len(meta("their_networks:Conv", depth=2.0).features) == 6
    with pytest.raises(BuildError, match="their_networks:linear: it has no width multiplier; width must be 1"):
        meta("their_networks:linear", width=2.0)


def test_a_users_callable_that_names_a_stem_is_told_which():
    small, report = build(NetworkSpec("their_networks:with_stem", classes=4, channels=3, image_size=16))
    large, at_224 = build(NetworkSpec("their_networks:with_stem", classes=4, channels=3, image_size=224))
    assert (report.stem, at_224.stem) == ("small", "imagenet")
    assert [sum(p.numel() for p in network.parameters()) for network in (small, large)] == [3 * 4 + 4, 12 * 4 + 4]


def test_a_users_network_takes_components():
    with torch.device("meta"):
        _, report = build(
            NetworkSpec("their_networks:Conv", classes=4, channels=3, image_size=16, components={"activation": "mish"})
        )
    assert report.components["activation"].names == ("features.3",)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_such_place.nets:net", "can't import no_such_place.nets: ModuleNotFoundError: No module named"),
        (
            "their_typo:net",
            "can't import their_typo: ModuleNotFoundError: No module named 'torch.nothing_of_the_kind'$",
        ),
        ("their_networks:resnet", "their_networks has no resnet$"),
        ("their_networks:sep", "a str can't be called; name a function or class$"),
        ("their_networks:", "write timm:NAME or package.module:callable$"),
        ("their networks:net", "write timm:NAME or package.module:callable$"),
        ("their_networks:nothing", "it returned a NoneType, not a torch.nn.Module$"),
        ("their_networks:broken", r"called with \(4, 3\): RuntimeError: no such$"),
        ("their_networks:one_argument", r"called with \(4, 3\): TypeError: one_argument\(\) takes 1 positional"),
        ("their_networks:with_numbers", "it must build on the meta device, where tensors hold no numbers$"),
        ("their_networks:fixed", "its forward pass fails on images of 3×16×16: RuntimeError: "),
        ("their_networks:features", r"it returns \(2, 77\) for two images; logits of \(2, 4\) are expected$"),
        ("their_networks:pair", r"it returns a tuple for two images; logits of \(2, 4\) are expected$"),
    ],
)
def test_what_is_wrong_with_a_users_callable_is_said_in_one_line(name: str, reason: str):
    with pytest.raises(BuildError, match=f"^{name}: .*{reason}") as caught:
        meta(name)
    assert "\n" not in str(caught.value)


def test_a_module_that_is_missing_says_where_it_may_lie():
    with pytest.raises(BuildError, match=r"install it, or put it on PYTHONPATH or in the working directory$"):
        meta("no_such_place:net")


def test_the_working_directory_hides_no_installed_module(tmp_path: Path):
    (tmp_path / "torchvision.py").write_text("raise SystemExit('hidden')")
    meta("their_networks:linear")
    assert sys.path[-1] == str(tmp_path)


def test_a_study_names_them_and_its_rows_are_plain_names():
    rows = plan_rows(
        study("'their_networks:linear'", "{name: 'their_networks:Conv', width: 2}"), channels=1, classes=10
    )
    assert list(rows) == ["their_networks_linear", "their_networks_conv_w2"]
    row = rows["their_networks_linear"]
    assert (row.year, row.family, row.cost["params"]) == (0, "user", 2570)


def test_a_study_refuses_what_can_not_be_built_before_anything_starts():
    named = study("'their_networks:linear'", "'their_networks:fixed'", "'their_networks:none'")
    with pytest.raises(StudyError) as caught:
        plan_rows(named, channels=1, classes=10)
    first, second = caught.value.errors
    assert first.startswith("architectures.1 (their_networks_fixed): their_networks:fixed: its forward pass fails")
    assert second == "architectures.2 (their_networks_none): their_networks:none: their_networks has no none"


def test_a_name_without_a_colon_is_still_looked_up_in_the_catalogue():
    assert "their_networks" not in ARCHITECTURES and "their_networks:anything" in ARCHITECTURES
    with pytest.raises(StudyError, match="unknown architecture 'their_networks'; the nearest are "):
        study("their_networks")


def test_without_timm_the_way_to_install_it_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "timm", None)  # what an import then finds is nothing
    with pytest.raises(BuildError, match=r"timm:resnet18: timm can't be imported .*; pip install timm$"):
        meta("timm:resnet18")


def test_a_timm_network_is_timms_own():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    expected = timm.create_model("test_resnet", pretrained=False, num_classes=4, in_chans=1)
    torch.manual_seed(0)
    network, report = build(NetworkSpec("timm:test_resnet", classes=4, channels=1, image_size=32))
    assert report.stem == "own" and ARCHITECTURES["timm:test_resnet"].facts["family"] == "timm"
    images = torch.randn(2, 1, 32, 32)
    assert torch.equal(network.eval()(images), expected.eval()(images))


def test_a_timm_network_with_positions_is_built_for_the_images_size():
    pytest.importorskip("timm")
    for size in (32, 64):
        assert meta("timm:test_vit", image_size=size).pos_embed.shape[1] == (size // 16) ** 2 + 1


def test_a_name_that_timm_lacks_is_refused_with_those_nearby():
    pytest.importorskip("timm")
    with pytest.raises(BuildError, match=r"timm:resnet19: timm \S+ has no such model; did you mean .*resnet18"):
        meta("timm:resnet19")
