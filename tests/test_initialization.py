"""Initialisation: the variances of the papers, of the layers that it should reach, and of no others."""

import math

import pytest
import torch
import torchvision
from torch import nn

from cnnbench.components import swap

IMAGE = (3, 4, 4)


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 256, kernel_size=3, padding=1)
        self.norm = nn.BatchNorm2d(256)
        self.depthwise = nn.Conv2d(256, 256, kernel_size=3, padding=1, groups=256)
        self.act = nn.ReLU()
        self.gate = torchvision.ops.SqueezeExcitation(256, 64)
        self.hidden = nn.Linear(256, 128)
        self.fc = nn.Linear(128, 10)
        for parameter in self.parameters():
            nn.init.constant_(parameter, 3.0)

    def forward(self, x):
        x = self.gate(self.act(self.depthwise(self.norm(self.conv(x))))).mean([2, 3])
        return self.fc(self.act(self.hidden(x)))


def swapped(value: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return swap(Layers(), {"initialization": value}, IMAGE)[0]


# He et al. 2015, arXiv:1502.01852, equation 14: 2 / (k² · outputs that an input goes to); the logits' layer 1 / fan_in
KAIMING = {
    "conv": 2 / (9 * 256),
    "depthwise": 2 / 9,
    "gate.fc1": 2 / 64,
    "gate.fc2": 2 / 256,
    "hidden": 2 / 128,
    "fc": 1 / 128,
}


@pytest.mark.parametrize(("name", "variance"), KAIMING.items())
def test_kaiming_normal_has_the_papers_variance_and_no_biases(name: str, variance: float):
    layer = swapped("kaiming_normal").get_submodule(name)
    weights = layer.weight.detach().flatten()
    # the mean square of n normal numbers spreads by √(2/n), their mean by 1/√n: 5 of each, missed once in a million
    assert weights.square().mean().item() == pytest.approx(variance, rel=5 * math.sqrt(2 / len(weights)))
    assert abs(weights.mean().item()) < 5 * math.sqrt(variance / len(weights))
    # a kurtosis of 3, which spreads by √(24/n): a uniform distribution has 1.8
    assert weights.pow(4).mean().item() / variance**2 == pytest.approx(3, abs=8 * math.sqrt(24 / len(weights)))
    assert not layer.bias.any()


@pytest.mark.parametrize(
    ("name", "fan_in"),
    [("conv", 27), ("depthwise", 9), ("gate.fc1", 256), ("gate.fc2", 64), ("hidden", 256), ("fc", 128)],
)
def test_default_is_uniform_as_pytorch_has_it(name: str, fan_in: int):
    layer = swapped("default").get_submodule(name)
    bound = 1 / math.sqrt(fan_in)
    for values in (layer.weight.detach().flatten(), layer.bias.detach()):
        assert values.abs().max() <= bound
        # uniform: a mean square of bound²/3, with a variance of 4/45 bound⁴
        spread = math.sqrt(4 / 45 / len(values)) * bound**2
        assert values.square().mean().item() == pytest.approx(bound**2 / 3, abs=5 * spread)


@pytest.mark.parametrize("value", ["default", "kaiming_normal"])
def test_norms_and_the_given_network_stay_and_every_layer_is_a_site(value: str):
    network = Layers()
    result, report = swap(network, {"initialization": value}, IMAGE)
    done = report.components["initialization"]
    assert (done.sites, done.of, done.how) == (6, 6, "replaced")
    assert sorted(done.names) == sorted(KAIMING)
    assert result.norm.weight.eq(3).all() and result.norm.bias.eq(3).all()
    assert all(parameter.eq(3).all() for parameter in network.parameters())
    assert result.state_dict().keys() == network.state_dict().keys()


def test_one_seed_gives_one_initialisation():
    assert torch.equal(swapped("kaiming_normal").conv.weight, swapped("kaiming_normal").conv.weight)
    assert not torch.equal(swapped("kaiming_normal").conv.weight, swapped("kaiming_normal", seed=1).conv.weight)


def test_the_meta_device_takes_it():
    with torch.device("meta"):
        result, report = swap(Layers(), {"initialization": "kaiming_normal"}, IMAGE)
    assert report.components["initialization"].sites == 6
    assert {parameter.device.type for parameter in result.parameters()} == {"meta"}


def test_layers_that_other_components_bring_are_not_touched():
    brought = {"activation": "frelu", "attention": "spatial"}
    network = nn.Sequential(nn.Conv2d(3, 8, kernel_size=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5))
    first, _ = swap(network, brought, IMAGE)
    second, report = swap(first, {"initialization": "kaiming_normal"}, IMAGE)
    assert report.components["initialization"].names == ("0", "3")
    same = {name for name, value in second.state_dict().items() if torch.equal(value, first.state_dict()[name])}
    assert same == second.state_dict().keys() - {"0.weight", "0.bias", "3.weight", "3.bias"}
