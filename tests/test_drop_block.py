"""DropBlock against the paper's algorithm 1 written out in loops, torchvision's, and its statistics."""

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from cnnbench.components import ComponentError, swap
from cnnbench.components.drop_block import DropBlock2d


def by_loops(x: np.ndarray, begins: np.ndarray, size: int) -> np.ndarray:
    """Every block that begins at a 1 of ``begins`` is zero; the rest is scaled to keep the batch's mean."""
    kept = np.ones_like(x)
    for image, channel, row, column in np.argwhere(begins):
        kept[image, channel, row : row + size, column : column + size] = 0
    return x * kept * kept.size / kept.sum()


@pytest.mark.parametrize(("height", "width", "block", "size"), [(9, 8, 3, 3), (8, 8, 4, 4), (6, 9, 7, 6), (5, 5, 1, 1)])
def test_the_blocks_are_those_of_the_definition(height: int, width: int, block: int, size: int):
    x = torch.randn(3, 4, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gamma = 0.3 / size**2 * height * width / ((height - size + 1) * (width - size + 1))  # the paper's equation 1
    torch.manual_seed(1)
    begins = torch.empty(3, 4, height - size + 1, width - size + 1).bernoulli_(gamma)
    torch.manual_seed(1)
    dropped = DropBlock2d(0.3, block).train()(x)
    assert begins.any() and not begins.all()
    np.testing.assert_allclose(dropped, by_loops(x.numpy(), begins.numpy(), size), rtol=1e-6)


@pytest.mark.parametrize("size", [8, 13])
def test_it_is_torchvisions_where_that_takes_the_map(size: int):
    x = torch.randn(4, 6, size, size)
    torch.manual_seed(2)
    ours = DropBlock2d(0.2).train()(x)
    torch.manual_seed(2)
    theirs = torchvision.ops.DropBlock2d(0.2, 7).train()(x)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_pixel_is_dropped_as_often_as_the_blocks_that_cover_it_say():
    rate, size, side, channels = 0.1, 3, 8, 20_000
    gamma = rate / size**2 * side**2 / (side - size + 1) ** 2
    torch.manual_seed(3)
    dropped = (DropBlock2d(rate, size).train()(torch.ones(1, channels, side, side))[0] == 0).double()
    blocks = [min(i, side - size) - max(0, i - size + 1) + 1 for i in range(side)]  # that cover row i
    expected = 1 - (1 - gamma) ** np.outer(blocks, blocks)
    deviation = np.sqrt(expected * (1 - expected) / channels)
    # 64 pixels at 5.5 standard deviations: one in 400,000 seeds misses
    assert (np.abs(dropped.mean(0).numpy() - expected) < 5.5 * deviation).all()


def test_every_channel_of_every_image_has_blocks_of_its_own():
    torch.manual_seed(4)
    zeros = DropBlock2d(0.5, 3).train()(torch.ones(8, 8, 9, 9)).flatten(0, 1) == 0
    assert len(torch.unique(zeros, dim=0)) == 64


def test_a_map_that_is_smaller_than_the_block_is_dropped_whole():
    torch.manual_seed(5)
    dropped = DropBlock2d(0.5).train()(torch.ones(16, 16, 4, 4))
    assert all(len(channel.unique()) == 1 for channel in dropped.flatten(0, 1))
    assert dropped.mean().item() == pytest.approx(1)


@pytest.mark.parametrize(("rate", "expected"), [(0.0, 1.0), (1.0, 0.0)])
def test_the_ends_of_the_range_are_everything_and_nothing(rate: float, expected: float):
    assert torch.equal(DropBlock2d(rate).train()(torch.ones(2, 3, 4, 4)), torch.full((2, 3, 4, 4), expected))


def test_in_evaluation_it_returns_its_input():
    x = torch.randn(2, 3, 8, 8)
    assert DropBlock2d(0.5).eval()(x) is x


def test_gradients_are_the_mask_times_the_scale():
    def dropped(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(6)
        return DropBlock2d(0.3, 3).train()(x)

    assert torch.autograd.gradcheck(dropped, torch.randn(2, 2, 5, 5, dtype=torch.float64, requires_grad=True))


class Stages(nn.Module):
    """Maps of 16, 8 and 4 pixels a side, the last with a block that has a shortcut."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, kernel_size=3, padding=1)
        self.act1 = nn.ReLU()
        self.conv2 = nn.Conv2d(4, 4, kernel_size=3, stride=2, padding=1)
        self.norm2 = nn.BatchNorm2d(4)
        self.act2 = nn.ReLU()
        self.conv3 = nn.Conv2d(4, 4, kernel_size=3, stride=2, padding=1)
        self.conv4 = nn.Conv2d(4, 4, kernel_size=3, padding=1)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        x = self.act2(self.norm2(self.conv2(self.act1(self.conv1(x)))))
        x = self.conv3(x)
        x = torch.relu(x + self.conv4(x))
        return self.fc(x.mean([2, 3]))


def test_it_goes_behind_convolutions_and_into_shortcuts_of_the_two_smallest_maps():
    swapped, report = swap(Stages(), {"drop_block": 0.1}, (3, 16, 16))
    assert report.components["drop_block"].names == ("act2_drop_block", "conv3_drop_block", "conv4_drop_block")
    inputs = {str(node.target): str(node.args[0]) for node in swapped.graph.nodes if "drop_block" in str(node.target)}
    assert inputs == {"act2_drop_block": "act2", "conv3_drop_block": "conv3", "conv4_drop_block": "conv4"}


def test_a_shortcut_that_no_convolution_ends_gets_its_own():
    blocks = [torchvision.models.resnet.BasicBlock(4, 4) for _ in range(2)]
    network = nn.Sequential(nn.Conv2d(3, 4, 1), *blocks, nn.Flatten(), nn.Linear(256, 5))
    swapped, report = swap(network, {"drop_block": 0.1}, (3, 8, 8))
    # the first block's shortcut is the first convolution, which has one; the second's is the first's sum
    ends = ["0", "1.relu", "1.bn2", "2.relu", "2.bn2"]
    assert report.components["drop_block"].names == (*(f"{end}_drop_block" for end in ends), "2.drop_block")
    sums = [node for node in swapped.graph.nodes if len(node.all_input_nodes) == 2]
    sides = [{str(side.target) for side in node.args} for node in sums]
    assert sides == [{"1.bn2_drop_block", "0_drop_block"}, {"2.bn2_drop_block", "2.drop_block"}]


def test_patches_of_a_transformer_are_no_maps_to_drop_blocks_of():
    with torch.device("meta"):
        network = torchvision.models.vit_b_32(image_size=64)
    with pytest.raises(ComponentError, match=r"drop_block=0\.1 reaches no site: it has fewer than two convolutions"):
        swap(network, {"drop_block": 0.1}, (3, 64, 64))


def test_torchvisions_own_is_set_and_becomes_ours():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), torchvision.ops.DropBlock2d(0.5, 3), nn.Flatten(), nn.Linear(64, 5))
    swapped, report = swap(network, {"drop_block": 0.2}, (3, 4, 4))
    assert [(module.p, module.block_size) for module in swapped.modules() if isinstance(module, DropBlock2d)] == [
        (0.2, 7)
    ]
    assert report.components["drop_block"].how == "replaced"
