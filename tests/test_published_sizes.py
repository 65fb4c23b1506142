"""Parameters and MACs of our own architectures: the papers' numbers, and exact ones from the papers' tables; and the
parameters that an architecture's own file says."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from cnnbench.architectures import ARCHITECTURES
from cnnbench.architectures.catalogue import deepened
from cnnbench.networks.build import build
from cnnbench.networks.cost import measure
from cnnbench.networks.spec import NetworkSpec


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def plain(name: str, *, classes: int = 10, channels: int = 3, image_size: int = 32, **options: object) -> nn.Module:
    """The network without memory for its numbers."""
    with torch.device("meta"):
        return build(NetworkSpec(name, classes=classes, channels=channels, image_size=image_size, **options))[0]


# The papers' tables, written out: a kernel of k×k, from i to o channels.


def conv(k: int, i: int, o: int) -> int:
    return k * k * i * o


def norm(channels: int) -> int:
    return 2 * channels


def linear(i: int, o: int) -> int:
    return i * o + o


def cifar_resnet(blocks: int, c1: int = 16, c2: int = 32, c3: int = 64) -> int:
    convs = conv(3, 3, c1) + 2 * blocks * conv(3, c1, c1)
    convs += conv(3, c1, c2) + (2 * blocks - 1) * conv(3, c2, c2)
    convs += conv(3, c2, c3) + (2 * blocks - 1) * conv(3, c3, c3)
    return convs + (2 * blocks + 1) * norm(c1) + 2 * blocks * (norm(c2) + norm(c3)) + linear(c3, 10)


def wide_resnet(blocks: int, factor: int) -> int:
    total, before = conv(3, 3, 16), 16
    for here in (16 * factor, 32 * factor, 64 * factor):
        total += norm(before) + conv(3, before, here) + norm(here) + conv(3, here, here) + conv(1, before, here)
        total += (blocks - 1) * 2 * (norm(here) + conv(3, here, here))
        before = here
    return total + norm(before) + linear(before, 10)


def preact_resnet(blocks: int) -> int:
    total = conv(3, 3, 64) + 2 * blocks * (norm(64) + conv(3, 64, 64))
    for before, here in ((64, 128), (128, 256), (256, 512)):
        total += norm(before) + conv(3, before, here) + norm(here) + conv(3, here, here) + conv(1, before, here)
        total += (blocks - 1) * 2 * (norm(here) + conv(3, here, here))
    return total + norm(512) + linear(512, 10)


def resnet18(first_kernel: int, classes: int, blocks: int = 2) -> int:
    total = conv(first_kernel, 3, 64) + norm(64) + 2 * blocks * (conv(3, 64, 64) + norm(64))
    for before, here in ((64, 128), (128, 256), (256, 512)):
        total += conv(3, before, here) + conv(1, before, here) + norm(here)
        total += (2 * blocks - 1) * conv(3, here, here) + 2 * blocks * norm(here)
    return total + linear(512, classes)


def cbam(blocks: int) -> int:
    return sum(blocks * (2 * channels * channels // 16 + conv(7, 2, 1)) for channels in (64, 128, 256, 512))


def vgg_gap(convolutions: tuple[int, ...], batch_norm: bool) -> int:
    """convolutions: how many there are in each of the five groups."""
    total, before = 0, 3
    for channels, times in zip((64, 128, 256, 512, 512), convolutions, strict=True):
        for _ in range(times):
            total += conv(3, before, channels) + channels + (norm(channels) if batch_norm else 0)
            before = channels
    return total + linear(512, 10)


VGG_TABLE = {"11": (1, 1, 2, 2, 2), "13": (2, 2, 2, 2, 2), "16": (2, 2, 3, 3, 3), "19": (2, 2, 4, 4, 4)}


def mobilenet_v1(classes: int) -> int:
    channels = [32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
    total = conv(3, 3, 32) + norm(32)
    for before, here in pairwise(channels):
        total += conv(3, 1, before) + norm(before) + conv(1, before, here) + norm(here)
    return total + linear(1024, classes)


def alexnet_2012(classes: int) -> int:
    """Two towers: conv2, conv4 and conv5 see the half of the channels."""
    convs = conv(11, 3, 96) + 96 + conv(5, 48, 256) + 256 + conv(3, 256, 384) + 384
    convs += conv(3, 192, 384) + 384 + conv(3, 192, 256) + 256
    return convs + linear(6 * 6 * 256, 4096) + linear(4096, 4096) + linear(4096, classes)


@pytest.mark.parametrize(
    ("name", "parameters", "published"),
    [
        ("resnet20", cifar_resnet(3), "0.27"),  # He et al. 2015, table 6
        ("resnet32", cifar_resnet(5), "0.46"),
        ("resnet44", cifar_resnet(7), "0.66"),
        ("resnet56", cifar_resnet(9), "0.85"),
        ("resnet110", cifar_resnet(18), "1.7"),
        ("wide_resnet28_10", wide_resnet(4, 10), "36.5"),  # Zagoruyko & Komodakis 2016, table 4
        ("wide_resnet40_4", wide_resnet(6, 4), "8.9"),
        ("preact_resnet18", preact_resnet(2), "11.2"),
        ("modern_cnn", resnet18(3, 10), "11.2"),
        ("regularized_resnet18", resnet18(3, 10), "11.2"),
    ],
)
def test_parameters_at_32_pixels_and_10_classes_are_the_papers(name: str, parameters: int, published: str):
    assert count(plain(name)) == parameters
    decimals = len(published.partition(".")[2])
    assert f"{parameters / 1e6:.{decimals}f}" == published


@pytest.mark.parametrize(
    ("name", "parameters", "published", "macs"),
    [
        ("mobilenet_v1", mobilenet_v1(1000), "4.2", "0.569"),  # Howard et al. 2017, table 4
        ("cbam_resnet18", resnet18(7, 1000) + cbam(2), "11.78", "1.815"),  # Woo et al. 2018, table 4
        ("modern_cnn", resnet18(7, 1000), "11.69", "1.814"),  # ResNet-18 in the same table
        ("alexnet_2012", alexnet_2012(1000), "60.97", "0.724"),  # the paper: 60 million
    ],
)
def test_parameters_and_macs_at_224_pixels_and_1000_classes_are_the_papers(
    name: str, parameters: int, published: str, macs: str
):
    network = plain(name, classes=1000, image_size=224)
    assert count(network) == parameters
    assert f"{parameters / 1e6:.{len(published.partition('.')[2])}f}" == published
    assert f"{measure(network, (3, 224, 224)).macs / 1e9:.3f}" == macs


@pytest.mark.parametrize("name", [f"vgg{layers}{bn}_gap" for layers in VGG_TABLE for bn in ("", "_bn")])
def test_vgg_with_global_pooling_has_the_papers_convolutions_and_one_linear_layer(name: str):
    expected = vgg_gap(VGG_TABLE[name[3:5]], batch_norm="_bn" in name)
    assert count(plain(name)) == count(plain(name, image_size=224)) == expected


@pytest.mark.parametrize(("channels", "parameters"), [(1, 61_706), (3, 62_006)])
def test_lenet5_has_its_known_parameters_at_32_and_at_28_pixels(channels: int, parameters: int):
    assert count(plain("lenet5", channels=channels)) == parameters
    assert count(plain("lenet5", channels=channels, image_size=28)) == parameters


@pytest.mark.parametrize(
    ("name", "stem"), [(name, stem) for name in ARCHITECTURES for stem in ARCHITECTURES[name].facts.get("params", ())]
)
def test_an_architecture_has_the_parameters_that_its_file_says(name: str, stem: str):
    size, classes = (224, 1000) if stem == "imagenet" else (32, 10)
    network = plain(name, classes=classes, image_size=size, stem=stem)
    assert count(network) == ARCHITECTURES[name].facts["params"][stem]


def test_alexnet_of_2012_has_the_papers_maps_and_macs():
    network = plain("alexnet_2012", classes=1000, image_size=224)
    macs = 55 * 55 * conv(11, 3, 96) + 27 * 27 * conv(5, 48, 256)
    macs += 13 * 13 * (conv(3, 256, 384) + conv(3, 192, 384) + conv(3, 192, 256))
    assert measure(network, (3, 224, 224)).macs == macs + 6 * 6 * 256 * 4096 + 4096 * 4096 + 4096 * 1000


@pytest.mark.parametrize(("blocks", "depth", "expected"), [(3, 1.1, 4), (25, 2.2, 55), (2, 0.1, 1), (3, 2, 6)])
def test_depth_multiplies_a_stages_blocks_and_rounds_up(blocks: int, depth: float, expected: int):
    assert deepened(blocks, depth) == expected


@pytest.mark.parametrize(
    ("name", "depth", "parameters"),
    [
        ("resnet20", 5 / 3, cifar_resnet(5)),
        ("resnet56", 1 / 3, cifar_resnet(3)),
        ("wide_resnet40_4", 0.5, wide_resnet(3, 4)),
        ("preact_resnet18", 1.5, preact_resnet(3)),
        ("modern_cnn", 0.5, resnet18(3, 10, blocks=1)),
        ("regularized_resnet18", 1.01, resnet18(3, 10, blocks=3)),
        ("cbam_resnet18", 2, resnet18(3, 10, blocks=4) + cbam(4)),
    ],
)
def test_depth_adds_whole_blocks_to_each_stage(name: str, depth: float, parameters: int):
    assert count(plain(name, depth=depth)) == parameters


def test_width_multiplies_the_channels():
    assert count(plain("resnet20", width=1.5)) == cifar_resnet(3, 24, 48, 96)
    # its 16 channels before the first block become 40 as well, where WRN-28-10's stay 16
    assert count(plain("wide_resnet28_10", width=0.4)) < wide_resnet(4, 4)
    for name in ("simple_cnn", "alexnet_2012", "vgg11_gap", "preact_resnet18", "cbam_resnet18", "mobilenet_v1"):
        assert 3.5 < count(plain(name)) / count(plain(name, width=0.5)) < 4.1
