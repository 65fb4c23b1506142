"""Dropout of whole channels: where it goes, and what it drops."""

import pytest
import torch
import torchvision
from torch import nn

from cnnbench.components import ComponentError, swap
from cnnbench.networks.build import build, sites
from cnnbench.networks.spec import NetworkSpec

IMAGE = (3, 8, 8)


def plain() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU(), nn.Conv2d(6, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5))


def test_without_branches_it_stands_behind_the_activation_of_each_convolution():
    _, report = swap(plain(), {"dropout2d": 0.2}, IMAGE)
    done = report.components["dropout2d"]
    assert (done.how, done.names) == ("inserted", ("1_dropout2d", "3_dropout2d"))


def test_it_ends_residual_branches_and_never_drops_the_shortcut():
    network = torchvision.models.resnet.BasicBlock(4, 4)
    swapped, report = swap(network, {"dropout2d": 1.0}, (4, 8, 8))
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(swapped.train()(x), x.relu())
    assert report.components["dropout2d"].names == ("dropout2d",)


def test_simple_cnns_own_are_set_and_its_plain_dropout_is_not():
    found = sites(NetworkSpec("simple_cnn", classes=10, channels=3, image_size=16))
    assert (found["dropout2d"], found["dropout"]) == (3, 1)
    network, report = build(
        NetworkSpec("simple_cnn", classes=5, channels=3, image_size=16, width=0.1, components={"dropout2d": 0.4})
    )
    assert [module.p for module in network.modules() if isinstance(module, nn.Dropout2d)] == [0.4] * 3
    assert [module.p for module in network.modules() if isinstance(module, nn.Dropout)] == [0.5]
    assert report.components["dropout2d"].how == "replaced"


def test_channels_go_whole_and_by_themselves_and_the_mean_stays():
    network = nn.Sequential(nn.Conv2d(3, 1000, 1), nn.ReLU(), nn.Conv2d(1000, 5, 8), nn.Flatten())
    swapped, _ = swap(network, {"dropout2d": 0.25}, IMAGE)
    layer = swapped.get_submodule("1_dropout2d").train()
    torch.manual_seed(0)
    dropped = layer(torch.ones(4, 1000, 8, 8)).flatten(2)
    assert torch.equal(dropped.amin(2), dropped.amax(2))
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.75])
    # 4000 draws of 0.75 have a standard deviation of 27.4: 5 of them are missed once in 1.7 million seeds
    assert abs(int((dropped.amax(2) > 0).sum()) - 3000) < 137


def test_in_evaluation_it_is_not_there():
    network = plain()
    swapped, _ = swap(network, {"dropout2d": 0.9}, IMAGE)
    x = torch.randn(2, *IMAGE)
    assert torch.equal(swapped.eval()(x), network.eval()(x))
    assert not torch.equal(swapped.train()(x), network.train()(x))
    assert swapped.state_dict().keys() == network.state_dict().keys()


def test_a_network_without_maps_is_refused():
    with pytest.raises(ComponentError, match=r"dropout2d=0\.1 reaches no site: it has neither a dropout of channels"):
        swap(nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.ReLU(), nn.Linear(4, 5)), {"dropout2d": 0.1}, IMAGE)
