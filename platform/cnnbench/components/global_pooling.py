"""Pooling of whole maps: to one number a channel, or to a grid, whose cells all go into the layer behind.

A module that gives more than one number a channel says how many in ``cells``: the linear layer behind it needs that
many times the inputs.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnbench.components.kinds import COMPONENTS, Place, Unsuitable

GLOBAL_POOLINGS = COMPONENTS["global_pooling"]


@GLOBAL_POOLINGS.register("average", same_as=(nn.AdaptiveAvgPool2d, F.adaptive_avg_pool2d, torch.mean, "mean"))
def average_map(place: Place) -> nn.Module:
    """The mean of each channel's map (Lin et al. 2013, arXiv:1312.4400)."""
    return nn.AdaptiveAvgPool2d(1)


@GLOBAL_POOLINGS.register("max", same_as=(nn.AdaptiveMaxPool2d, F.adaptive_max_pool2d))
def max_map(place: Place) -> nn.Module:
    """The largest value of each channel's map."""
    return nn.AdaptiveMaxPool2d(1)


class AverageMaxPool2d(nn.Module):
    """The mean of global average and global max pooling: (N, C, H, W) to (N, C, 1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * (F.adaptive_avg_pool2d(x, 1) + F.adaptive_max_pool2d(x, 1))


@GLOBAL_POOLINGS.register("average_max", same_as=(AverageMaxPool2d,))
def average_max_map(place: Place) -> nn.Module:
    """Half the average and half the max."""
    return AverageMaxPool2d()


class GridPool2d(nn.AdaptiveAvgPool2d):
    """The means of a grid's cells: (N, C, H, W) to (N, C, grid, grid); cells of a map that does not divide overlap."""

    def __init__(self, grid: int) -> None:
        super().__init__(grid)
        self.cells = grid * grid


def _grid(grid: int, place: Place) -> nn.Module:
    height, width = place.shape[2:]
    if min(height, width) < grid:
        raise Unsuitable(
            f"a map of {height}×{width} is smaller than a grid of {grid}×{grid}; choose a smaller grid, average or max"
        )
    return GridPool2d(grid)


@GLOBAL_POOLINGS.register("grid_2", same_as=(GridPool2d,), same_with={"cells": 4})
def grid_2(place: Place) -> nn.Module:
    """Averages of a 2×2 grid."""
    return _grid(2, place)


@GLOBAL_POOLINGS.register("grid_4", same_as=(GridPool2d,), same_with={"cells": 16})
def grid_4(place: Place) -> nn.Module:
    """Averages of a 4×4 grid: the whole map of a CIFAR ResNet-18."""
    return _grid(4, place)


@GLOBAL_POOLINGS.register("grid_7", same_as=(GridPool2d,), same_with={"cells": 49})
def grid_7(place: Place) -> nn.Module:
    """Averages of a 7×7 grid, as VGG's head has it in torchvision."""
    return _grid(7, place)


class WholeMap(nn.Module):
    """The map itself, (N, C, H, W), unpooled: the layer behind sees every pixel, as in LeNet, AlexNet and VGG."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.cells = height * width

    def forward(self, x: Tensor) -> Tensor:
        return x


@GLOBAL_POOLINGS.register("flatten", same_as=(WholeMap,))
def flatten(place: Place) -> nn.Module:
    """No pooling, as the classic heads have it; the linear layer behind grows with the map."""
    return WholeMap(*place.shape[2:])
