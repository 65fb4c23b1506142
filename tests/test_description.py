"""Layer tables and receptive fields: numbers from papers, by hand, and by poking at pixels."""

import math

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from cnnbench.components import COMPONENTS, swap
from cnnbench.networks.build import build
from cnnbench.networks.cost import measure
from cnnbench.networks.description import Layer, describe
from cnnbench.networks.receptive_field import Field
from cnnbench.networks.spec import NetworkSpec


def layers_of(network: nn.Module, input: tuple[int, int, int]) -> dict[str, Layer]:
    return {layer.name: layer for layer in describe(network, input).layers}


def torchvision_layers(name: str, side: int, **options: bool) -> dict[str, Layer]:
    with torch.device("meta"):
        return layers_of(torchvision.models.get_model(name, weights=None, **options), (3, side, side))


@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [
        # Araujo et al. 2019, table 1: alexnet_v2 195, vgg_16 212, inception_v3 1311
        ("alexnet", "features.12", 195),
        ("vgg16", "features.30", 212),
        ("inception_v3", "Mixed_7c.cat_14", 1311),
        # theirs, 483, has the strides at other convolutions. Stem 7 and 3 → 11, stride 4; then the 3×3 convolutions, of
        # which each stage's first has the stride: +3·8, +8+3·16, +16+5·32, +32+2·64
        ("resnet50", "layer4.2.conv3", 427),
    ],
)
def test_receptive_fields_of_published_networks(name: str, layer: str, size: int):
    options = {"aux_logits": False, "init_weights": False, "transform_input": False} if name == "inception_v3" else {}
    field = torchvision_layers(name, 299, **options)[layer].field
    assert field == Field((size, size), (32, 32))


class Branches(nn.Module):
    """Kernels, strides and dilations that differ by axis, a branch, functional calls, a slice with steps."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(1, 2, kernel_size=(1, 7), padding=(0, 3))
        self.tall = nn.Conv2d(1, 2, kernel_size=(5, 1), padding=(2, 0))
        self.dilated = nn.Conv2d(2, 2, kernel_size=3, dilation=(2, 3), stride=(2, 1), padding=(2, 3))
        self.last = nn.Conv2d(2, 2, kernel_size=3, padding=1, groups=2)
        self.kernel = nn.Parameter(torch.ones(2, 2, 1, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.wide(x) + self.tall(x))
        x = F.max_pool2d(self.dilated(x), 3, stride=2, padding=1)
        x = F.avg_pool2d(self.last(x[:, :, :, ::3]), 3, 1, 1)
        return F.conv2d(x, self.kernel, None, 1, (0, 1))


def extent(network: nn.Module, side: int) -> tuple[int, int]:
    """(height, width) of what the centre of the last maps depends on, found by lighting one row or column of a dark
    image at a time; no weight is negative, so nothing cancels. ``side`` must hold the whole field."""
    network.double().eval()
    lines = torch.eye(side, dtype=torch.float64)[:, None, :, None].expand(side, 1, side, side)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.fill_(0.0 if name.endswith("bias") else 0.125)
        dark = network(torch.zeros(1, 1, side, side, dtype=torch.float64))
        row, column = (size // 2 for size in dark.shape[2:])
        height, width = (
            int((network(images)[:, 0, row, column] != dark[0, 0, row, column]).sum())
            for images in (lines, lines.transpose(2, 3))
        )
    return height, width


def last_field(network: nn.Module, side: int) -> tuple[float, float]:
    field = describe(network, (1, side, side)).layers[-1].field
    assert field is not None
    return field.size


def test_the_field_is_what_an_output_depends_on_in_a_network_with_everything_a_window_can_have():
    network = Branches()
    # by hand, height: max(1, 5) = 5; +2·2·1 = 9, stride 2; +2·2 = 13, stride 4; +2·4 = 21; +2·4 = 29
    # and width: 7; +2·3·1 = 13, stride 1; +2·1 = 15, stride 2; the slice: stride 6; +2·6 = 27; +2·6 = 39; +2·6 = 51
    assert last_field(network, 64) == (29, 51)
    assert extent(network, 64) == (29, 51)


def test_the_field_of_a_whole_resnet_is_what_its_last_maps_depend_on():
    network, _ = build(NetworkSpec("resnet20", classes=2, channels=1, image_size=96, width=0.125))
    maps = nn.Sequential(*[network.get_submodule(n) for n in ("conv1", "norm1", "act1", "stage1", "stage2", "stage3")])
    # 3; six convolutions of stride 1: +12; then +2 and five of stride 2: +20; then +4 and five of stride 4: +40
    assert last_field(maps, 96) == (81, 81)
    assert extent(maps, 96) == (81, 81)


@pytest.mark.parametrize("kind", ["window_pooling", "activation"])
def test_the_field_counts_what_each_component_reaches(kind: str):
    """A component that looks at neighbours, as the funnel activation does, must be in the arithmetic."""
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(2, 2, 3, padding=1)
    )
    for value in COMPONENTS[kind]:
        swapped, _ = swap(network, {kind: value}, (1, 32, 32))
        assert last_field(swapped, 32) == extent(swapped, 32), value


def test_adaptive_pooling_to_a_grid_has_the_field_of_its_widest_bin():
    pool = nn.AdaptiveAvgPool2d(3)  # bins of positions 0–2, 2–5 and 5–7
    assert layers_of(nn.Sequential(pool), (1, 8, 8))["0"].field == Field((4, 4), (8 / 3, 8 / 3))
    assert extent(nn.Sequential(pool), 8) == (4, 4)


class Gated(nn.Module):
    """A convolution whose maps a squeeze-excite gate, written out, multiplies."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, kernel_size=3, padding=1)
        self.squeeze = nn.Conv2d(4, 4, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * torch.sigmoid(self.squeeze(x.mean((2, 3), keepdim=True)))


def test_a_gate_does_not_count_but_its_own_layers_see_the_whole_image():
    layers = layers_of(Gated(), (1, 8, 8))
    assert layers["squeeze"].field.size == (math.inf, math.inf)
    assert layers["mul"].field == Field((3, 3), (1, 1))


def test_attention_and_pooling_of_whole_maps_see_the_whole_image():
    vit = torchvision_layers("vit_b_32", 224)
    assert vit["encoder.layers.encoder_layer_0.ln_1"].field == Field((32, 32), (32, 32))
    assert vit["encoder.layers.encoder_layer_0.self_attention"].field.size == (math.inf, math.inf)
    swin = torchvision_layers("swin_t", 64)
    assert swin["features.1.0.attn.shifted_window_attention"].field.size == (math.inf, math.inf)
    assert swin["features.1.0.norm1"].field == Field((4, 4), (4, 4))
    assert torchvision_layers("mnasnet0_5", 64)["mean"].field.size == (math.inf, math.inf)


def test_the_table_of_lenet5_is_what_one_computes_by_hand():
    network, _ = build(NetworkSpec("lenet5", classes=10, channels=1, image_size=32))
    counted = [layer for layer in describe(network, (1, 32, 32)).layers if layer.params or "ool" in layer.type]
    rows = [(layer.output, layer.field.size[0], layer.field.stride[0], layer.params, layer.macs) for layer in counted]
    assert rows[:4] == [
        ((6, 28, 28), 5, 1, 6 * 25 + 6, 6 * 28 * 28 * 25),
        ((6, 14, 14), 6, 2, 0, 0),
        ((16, 10, 10), 14, 2, 16 * 6 * 25 + 16, 16 * 10 * 10 * 6 * 25),
        ((16, 5, 5), 16, 4, 0, 0),
    ]
    assert [(row[0], *row[3:]) for row in rows[-2:]] == [((84,), 84 * 121, 84 * 120), ((10,), 10 * 85, 10 * 84)]


@pytest.mark.parametrize("name", ["convnext_tiny", "densenet121", "efficientnet_b0", "swin_t", "vit_b_32"])
def test_layers_add_up_to_the_networks_cost(name: str):
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None)
    described = describe(network, (3, 224, 224))
    assert described.cost == measure(network, (3, 224, 224)) and described.unused_params == 0
    assert sum(layer.params for layer in described.layers) == sum(p.numel() for p in network.parameters())
    assert sum(layer.macs for layer in described.layers) == described.cost.macs


def test_a_layer_that_is_used_twice_has_its_parameters_once_and_its_macs_twice():
    conv = nn.Conv2d(2, 2, kernel_size=1, bias=False)
    described = describe(nn.Sequential(conv, nn.ReLU(), conv), (2, 3, 3))
    assert [(layer.params, layer.macs) for layer in described.layers] == [(4, 36), (0, 0), (0, 36)]


class WithSpareHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, kernel_size=1)
        self.spare = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def test_parameters_that_the_forward_pass_does_not_use_are_said():
    described = describe(WithSpareHead(), (1, 2, 2))
    assert [layer.params for layer in described.layers] == [2]
    assert described.unused_params == 3 * 3 + 3 and described.cost.params == 14


def test_the_sites_say_what_stands_there():
    network, _ = build(
        NetworkSpec(
            "resnet20", classes=10, channels=3, image_size=32, components={"activation": "mish", "dropout": 0.3}
        )
    )
    sites = describe(network, (3, 32, 32)).sites
    assert len(sites["activation"]) == 19 and {site.value for site in sites["activation"]} == {"mish"}
    assert [(site.value, site.insert) for site in sites["dropout"]] == [(0.3, False)]
    assert sites["window_pooling"] == ()
