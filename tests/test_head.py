"""The linear layer behind a pooling to more than one number a channel."""

import pytest
import torch
import torchvision
from torch import nn

from cnnbench.components import ComponentError, swap

IMAGE = (3, 8, 8)


class Head(nn.Module):
    def __init__(self, pool, between):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, kernel_size=1)
        self.act = nn.ReLU()
        self.pool, self.between = pool, between
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.between(self.pool(self.act(self.conv(x)))))


class Mean(nn.Module):
    def forward(self, x):
        return x.mean([2, 3])


class View(nn.Module):
    def forward(self, x):
        return x.view(x.size(0), -1)


@pytest.mark.parametrize(
    "network",
    [
        Head(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        Head(nn.AdaptiveAvgPool2d(1), nn.Sequential(nn.Dropout(0.1), nn.Flatten(), nn.Identity())),
        Head(nn.AdaptiveMaxPool2d((1, 1)), View()),
        Head(nn.AdaptiveAvgPool2d(1), nn.Sequential(torchvision.models.convnext.LayerNorm2d(4), nn.Flatten())),
        Head(Mean(), nn.Identity()),
    ],
    ids=["flatten", "dropout", "view", "norm", "mean"],
)
def test_a_grid_goes_cell_by_cell_into_a_larger_layer(network: nn.Module):
    swapped, report = swap(network, {"global_pooling": "grid_2"}, IMAGE)
    assert (swapped.fc.in_features, swapped.fc.out_features) == (16, 5)
    assert network.fc.in_features == 4
    assert report.components["global_pooling"].sites == 1
    swapped.train()(torch.randn(2, *IMAGE)).sum().backward()
    assert all(parameter.grad is not None for parameter in swapped.parameters())


def test_the_cells_of_a_channel_are_the_means_of_its_quarters():
    swapped, _ = swap(Head(nn.AdaptiveAvgPool2d(1), nn.Flatten()), {"global_pooling": "grid_2"}, IMAGE)
    x = torch.randn(2, *IMAGE)
    maps = torch.relu(swapped.conv(x))
    quarters = [maps[:, :, i : i + 4, j : j + 4].mean((2, 3)) for i in (0, 4) for j in (0, 4)]
    expected = swapped.fc(torch.stack(quarters, dim=2).flatten(1))
    assert torch.allclose(swapped.eval()(x), expected, atol=1e-6)


def test_flatten_gives_every_pixel_to_the_layer_and_a_second_swap_takes_them_back():
    network = Head(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    once, _ = swap(network, {"global_pooling": "flatten"}, IMAGE)
    assert once.fc.in_features == 4 * 64
    same, report = swap(once, {"global_pooling": "flatten"}, IMAGE)
    assert report.components["global_pooling"].how == "kept"
    assert torch.equal(same.fc.weight, once.fc.weight)
    back, _ = swap(once, {"global_pooling": "average"}, IMAGE)
    assert back.fc.in_features == 4


def test_the_larger_layer_is_initialised_with_the_others():
    network = Head(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.fc = nn.Linear(4, 5, bias=False)
    torch.manual_seed(0)
    swapped, _ = swap(network, {"initialization": "kaiming_normal", "global_pooling": "flatten"}, IMAGE)
    # 1280 weights of variance 1/256: their mean square spreads by √(2/1280); 5 of that is missed once in a million
    assert swapped.fc.weight.square().mean().item() == pytest.approx(1 / 256, rel=0.2)
    assert swapped.fc.bias is None


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (nn.Sequential(nn.Conv2d(3, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "output reads it"),
        (Head(nn.AdaptiveAvgPool2d(1), nn.Sequential(nn.Flatten(), nn.LayerNorm(4))), r"between\.1 reads it"),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 5, 1), nn.Flatten()), "1 reads it"),
    ],
)
def test_where_no_linear_layer_reads_it_the_reason_is_said_and_nothing_changes(network: nn.Module, reason: str):
    with pytest.raises(ComponentError, match=f"more than one number a channel needs a linear layer .* but {reason}"):
        swap(network, {"global_pooling": "grid_2"}, IMAGE)
    unchanged, report = swap(network, {"global_pooling": "grid_2"}, IMAGE, allow_unreached=True)
    assert unchanged is network
    assert report.components["global_pooling"].how == "unreached"
