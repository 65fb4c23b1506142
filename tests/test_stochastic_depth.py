"""Stochastic depth: its rates, its rows, its mean."""

import pytest
import torch
import torchvision
from torch import nn
from torchvision.ops import StochasticDepth

from cnnbench.components import ComponentError, swap

IMAGE = (3, 4, 4)


class Residual(nn.Module):
    def __init__(self, own: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, kernel_size=3, padding=1)
        self.depth = StochasticDepth(0.7, "batch") if own else nn.Identity()

    def forward(self, x):
        return x + self.depth(self.conv(x))


def rates(network: nn.Module) -> list[float]:
    return [module.p for module in network.modules() if isinstance(module, StochasticDepth)]


def test_the_rate_grows_linearly_to_that_of_the_last_branch():
    swapped, report = swap(nn.Sequential(*(Residual() for _ in range(4))), {"stochastic_depth": 0.4}, IMAGE)
    assert rates(swapped) == pytest.approx([0.1, 0.2, 0.3, 0.4])  # l/L · p_L, Huang et al. 2016
    done = report.components["stochastic_depth"]
    assert (done.sites, done.of, done.how) == (4, 4, "inserted")
    assert done.names == ("0.stochastic_depth", "1.stochastic_depth", "2.stochastic_depth", "3.stochastic_depth")


def test_what_stands_there_already_gets_the_same_rule_and_drops_rows():
    swapped, report = swap(nn.Sequential(Residual(own=True), Residual(own=True)), {"stochastic_depth": 0.6}, IMAGE)
    assert rates(swapped) == pytest.approx([0.3, 0.6])
    assert {swapped.get_submodule(name).mode for name in ("0.depth", "1.depth")} == {"row"}
    assert report.components["stochastic_depth"].how == "replaced"


def test_torchvisions_convnext_is_set_and_not_given_a_second_one():
    settings = [torchvision.models.convnext.CNBlockConfig(8, None, 2)]
    network = torchvision.models.convnext.ConvNeXt(settings, stochastic_depth_prob=0.1, num_classes=5)
    swapped, _ = swap(network, {"stochastic_depth": 0.5}, (3, 16, 16))
    assert rates(swapped) == pytest.approx([0.25, 0.5])


def test_each_image_loses_its_branch_by_itself_and_the_mean_stays():
    torch.manual_seed(0)
    network = Residual()
    swapped, _ = swap(network, {"stochastic_depth": 0.25}, IMAGE)
    images = torch.randn(IMAGE).expand(4000, *IMAGE)
    with torch.no_grad():
        whole = network.conv(images[:1])
        outputs = swapped.train()(images)
    kept = (outputs - images).abs().amax((1, 2, 3)) > 0
    # 4000 draws of 0.75 have a standard deviation of 27.4: 5 of them are missed once in 1.7 million seeds
    assert abs(int(kept.sum()) - 3000) < 137
    assert torch.allclose(outputs[kept], images[kept] + whole / 0.75, atol=1e-5)
    assert torch.equal(outputs[~kept], images[~kept])


def test_in_evaluation_it_is_not_there():
    network = Residual()
    swapped, _ = swap(network, {"stochastic_depth": 0.9}, IMAGE)
    images = torch.randn(8, *IMAGE)
    assert torch.equal(swapped.eval()(images), network.eval()(images))
    assert swapped.state_dict().keys() == network.state_dict().keys()


def test_a_rate_of_one_leaves_the_shortcut_of_the_last_block():
    swapped, _ = swap(Residual(), {"stochastic_depth": 1.0}, IMAGE)
    images = torch.randn(8, *IMAGE)
    assert torch.equal(swapped.train()(images), images)


def test_without_residual_branches_it_is_refused():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
    with pytest.raises(ComponentError, match=r"stochastic_depth=0\.2 reaches no site: it has no residual branch"):
        swap(network, {"stochastic_depth": 0.2}, IMAGE)
