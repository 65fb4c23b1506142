"""Counts with known answers."""

import pytest
import torch
import torchvision
from torch import nn

from cnnbench.cost import measure
from cnnbench.network import build


def test_conv_macs_equal_the_closed_form():
    conv = nn.Conv2d(8, 16, kernel_size=3, stride=2, padding=1, groups=2)
    # 16 maps of 5×5 outputs, each from 8/2 channels of 3×3
    assert measure(conv, (8, 10, 10)).macs == 16 * 5 * 5 * 4 * 3 * 3


def test_linear_macs_equal_the_closed_form_and_flops_are_twice_the_macs():
    cost = measure(nn.Sequential(nn.Flatten(), nn.Linear(12, 7)), (3, 2, 2))
    assert (cost.macs, cost.flops) == (84, 168)


@pytest.mark.parametrize(
    ("name", "classes", "image_size", "macs"),
    [
        ("lenet5", 10, 32, 416_520),  # C1 117,600 + C3 240,000 + C5 48,000 + F6 10,080 + output 840
        ("resnet18", 1000, 224, 1_814_073_344),
    ],
)
def test_macs_of_known_networks(name: str, classes: int, image_size: int, macs: int):
    channels = 1 if name == "lenet5" else 3
    with torch.device("meta"):
        network, _ = build(name, classes=classes, channels=channels, image_size=image_size)
    assert measure(network, (channels, image_size, image_size)).macs == macs


def test_size_counts_parameters_and_buffers_and_frozen_parameters_are_not_trainable():
    norm = nn.BatchNorm2d(100)  # 2 × 100 parameters, 2 × 100 statistics of 4 bytes each, one counter of 8
    norm.bias.requires_grad_(False)
    cost = measure(norm, (100, 2, 2))
    assert (cost.params, cost.trainable_params, cost.macs) == (200, 100, 0)
    assert cost.size_mb == pytest.approx(1608e-6)


def test_measuring_leaves_mode_statistics_and_weights_as_they_were():
    network, _ = build("resnet20", classes=10, channels=3, image_size=32)
    network.train()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    measure(network, (3, 32, 32))
    assert network.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
    assert all(parameter.device.type == "cpu" for parameter in network.parameters())


def test_attention_is_counted_whatever_kernel_it_would_run_on():
    fast = torch.backends.mha.get_fastpath_enabled()
    with torch.device("meta"):
        vit = torchvision.models.vit_b_32(weights=None)
    # 12 blocks of 50 tokens × 768: four projections and an MLP of 3072, and the patches; the attention products beside
    tokens, width = 50, 768
    products = 12 * (tokens * 12 * width * width + 2 * tokens * tokens * width) + 49 * width * 3 * 32 * 32
    assert measure(vit, (3, 224, 224)).macs == products + width * 1000
    assert torch.backends.mha.get_fastpath_enabled() == fast


def test_macs_are_counted_under_inference_mode_too():
    with torch.inference_mode():
        assert measure(nn.Conv2d(1, 1, kernel_size=1), (1, 2, 2)).macs == 4
