"""Counts with known answers."""

import time

import pytest
import torch
import torchvision
from torch import Tensor, nn

from cnnbench.networks.build import build
from cnnbench.networks.cost import measure, speed
from cnnbench.networks.spec import NetworkSpec


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
        network, _ = build(NetworkSpec(name, classes=classes, channels=channels, image_size=image_size))
    assert measure(network, (channels, image_size, image_size)).macs == macs


def test_size_counts_parameters_and_buffers_and_frozen_parameters_are_not_trainable():
    norm = nn.BatchNorm2d(100)  # 2 × 100 parameters, 2 × 100 statistics of 4 bytes each, one counter of 8
    norm.bias.requires_grad_(False)
    cost = measure(norm, (100, 2, 2))
    assert (cost.params, cost.trainable_params, cost.macs) == (200, 100, 0)
    assert cost.size_mb == pytest.approx(1608e-6)


def test_measuring_leaves_mode_statistics_and_weights_as_they_were():
    network, _ = build(NetworkSpec("resnet20", classes=10, channels=3, image_size=32))
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


def chain() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 4, 1), nn.ReLU(inplace=True), nn.Flatten()
    )


def test_peak_memory_is_the_weights_the_image_and_the_activations_that_live_at_once():
    # bytes: 10·10·4 for a map; 2 maps and their rectified copy, then 2 and the 4 of the next layer, which is rectified
    # in place and flattened as a view
    weights = 4 * (2 * 9 + 2 + 4 * 2 + 4)
    assert speed(chain(), (1, 10, 10), torch.device("cpu"), seconds=0.01).peak_memory_mb == pytest.approx(
        (weights + 400 + 6 * 400) / 1e6
    )


def test_a_measured_network_stays_as_it_was_and_the_numbers_hang_together():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5)).train()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    state = torch.get_rng_state()
    measured = speed(network, (3, 16, 16), torch.device("cpu"), seconds=0.05)
    assert network.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
    assert 0 < measured.latency_ms_median <= measured.latency_ms_p95 and measured.latency_runs >= 5
    assert measured.throughput > 0 and measured.throughput_batch in (1, 2, 4, 8, 16, 32, 64)
    assert measured.threads == torch.get_num_threads()


class Sleeper(nn.Module):
    """Takes 10 ms at least, whatever the batch."""

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(0.01)
        return x


def test_latency_is_in_milliseconds_an_image_and_throughput_in_images_a_second():
    measured = speed(Sleeper(), (1, 1, 1), torch.device("cpu"), seconds=0.2)
    assert measured.latency_ms_median >= 10  # a busy machine only makes it longer
    assert measured.throughput <= measured.throughput_batch / 0.01
