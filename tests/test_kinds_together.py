"""Several kinds of component in one network: their order, and that none is a site of another."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from cnnbench.components import swap
from cnnbench.components.kinds import KINDS, SITES_OF
from cnnbench.components.swap import ORDER

IMAGE = (3, 8, 8)
ALL = {
    "dropout": 0.1,
    "stochastic_depth": 0.2,
    "drop_block": 0.1,
    "dropout2d": 0.1,
    "attention": "cbam",
    "window_pooling": "mixed",
    "activation": "frelu",
    "normalization": "switchable",
    "convolution": "depthwise_separable",
    "initialization": "kaiming_normal",
    "global_pooling": "grid_2",
}


class Network(nn.Module):
    def __init__(self, norm: bool = True):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, kernel_size=3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.conv1 = nn.Conv2d(16, 16, kernel_size=3, padding=1)
        self.act = nn.ReLU()
        self.conv2 = nn.Conv2d(16, 16, kernel_size=3, padding=1)
        self.norm = nn.BatchNorm2d(16) if norm else nn.Identity()
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        x = self.pool(F.relu(self.stem(x)))
        x = x + self.norm(self.conv2(self.act(self.conv1(x))))
        return self.fc(torch.flatten(self.gap(x), 1))


def order(network: torch.fx.GraphModule) -> list[str]:
    return [str(node.target) for node in network.graph.nodes if node.op == "call_module"]


def test_every_kind_says_where_its_sites_are():
    assert set(SITES_OF) == set(KINDS) == set(ALL) == set(ORDER)
    assert all(SITES_OF.values())


def test_at_one_point_attention_comes_before_dropout_and_stochastic_depth_last():
    swapped, report = swap(Network(), {kind: ALL[kind] for kind in ALL if kind != "normalization"}, IMAGE)
    (addition,) = [node for node in swapped.graph.nodes if node.name == "add"]
    shortcut, node = addition.args
    branch = []
    while node.target != "act":
        branch.append(node.target)
        (node,) = node.args
    assert branch[::-1] == [
        *("act_drop_block", "conv2", "norm", "norm_drop_block", "attention", "dropout2d", "stochastic_depth")
    ]
    assert shortcut.target == "drop_block"
    assert list(report.components) == [kind for kind in ALL if kind != "normalization"]


def test_a_stochastic_depth_that_stands_there_stays_last():
    network = Network()
    network.norm = nn.Sequential(nn.BatchNorm2d(16), torchvision.ops.StochasticDepth(0.5, "row"))
    wanted = {"stochastic_depth": 0.2, "dropout2d": 0.1, "attention": "cbam"}
    names = order(swap(network, wanted, IMAGE)[0])
    assert names[names.index("norm.0") :][:4] == ["norm.0", "norm.1_attention", "norm.1_dropout2d", "norm.1"]


def test_behind_an_activation_they_come_in_the_same_order():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5)
    )
    wanted = {"drop_block": 0.1, "dropout2d": 0.1, "attention": "cbam", "activation": "prelu"}
    names = order(swap(network, wanted, IMAGE)[0])
    assert names[:5] == ["0", "1", "1_attention", "1_dropout2d", "1_drop_block"]


def test_an_inserted_norm_is_next_to_its_convolution_whatever_else_goes_there():
    wanted = {"drop_block": 0.1, "attention": "channel", "activation": "prelu", "normalization": "batch"}
    swapped, _ = swap(Network(norm=False), wanted, IMAGE)
    names = order(swapped)
    assert names[: names.index("pool")] == ["stem", "stem_norm", "activation", "relu_drop_block"]
    assert names[names.index("conv1") : names.index("conv2")] == ["conv1", "conv1_norm", "act", "act_drop_block"]
    assert swapped.stem.bias is None and swapped.conv1.bias is None


def test_all_kinds_at_once_count_the_sites_of_the_given_network_alone_and_train():
    torch.manual_seed(0)
    swapped, report = swap(Network(), ALL, IMAGE)
    assert {kind: report.components[kind].sites for kind in ALL} == {
        "dropout": 1,
        "stochastic_depth": 1,
        "drop_block": 4,  # stem, conv1, conv2 and the shortcut: maps of 8 and 4 pixels
        "dropout2d": 1,
        "attention": 1,
        "window_pooling": 1,
        "activation": 2,
        "normalization": 1,
        "convolution": 2,
        "initialization": 4,
        "global_pooling": 1,
    }
    F.cross_entropy(swapped.train()(torch.randn(4, *IMAGE)), torch.tensor([0, 1, 2, 3])).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in swapped.parameters())


def test_a_second_swap_keeps_what_the_first_has_put_in():
    wanted = {kind: value for kind, value in ALL.items() if kind != "initialization"}
    once, _ = swap(Network(), wanted, IMAGE)
    twice, report = swap(once, wanted, IMAGE)
    assert {kind.how for kind in report.components.values()} == {"kept"}
    x = torch.randn(4, *IMAGE)
    assert torch.equal(twice.eval()(x), once.eval()(x))
    torch.manual_seed(0)
    first = once.train()(x)
    torch.manual_seed(0)
    assert torch.equal(twice.train()(x), first)


@pytest.mark.parametrize("kind", ["dropout", "dropout2d", "drop_block", "stochastic_depth"])
def test_a_rate_acts_in_training_alone_and_leaves_the_state_dict(kind: str):
    torch.manual_seed(0)
    network = Network()
    swapped, report = swap(network, {kind: 0.5}, IMAGE)
    swapped.load_state_dict(network.state_dict())
    x = torch.randn(16, *IMAGE)
    assert report.components[kind].how == "inserted"
    assert torch.equal(swapped.eval()(x), network.eval()(x))
    assert not torch.equal(swapped.train()(x), network.train()(x))


def test_without_norms_but_with_attention_and_stochastic_depth_torchvisions_resnet_trains():
    torch.manual_seed(0)
    network = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=5)
    wanted = {"normalization": "none", "attention": "cbam", "stochastic_depth": 0.1, "activation": "tanh"}
    swapped, report = swap(network, wanted, (3, 64, 64))
    assert [report.components[kind].sites for kind in wanted] == [12, 4, 4, 9]
    swapped.train()(torch.randn(2, 3, 64, 64)).sum().backward()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in swapped.modules())


def test_what_overwrites_its_input_does_not_when_a_component_returns_it():
    class Overwriting(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, kernel_size=1)
            self.act = nn.ReLU()

        def forward(self, x):
            y = self.act(self.conv(x))
            return y.add_(x)

    network = Overwriting()
    swapped, _ = swap(network, {"activation": "tanh", "stochastic_depth": 0.0}, IMAGE)
    x = torch.randn(2, *IMAGE)
    swapped(x).sum().backward()  # tanh's derivative needs the output that add_ would have overwritten
    assert torch.equal(swapped(x), torch.tanh(network.conv(x)) + x)
