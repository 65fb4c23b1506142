"""The catalogue that every architecture registers in."""

import math
from collections.abc import Callable

from torch import nn

from cnnbench.registry import Registry

# A factory is called as factory(num_classes, in_channels, **options). Which options there are is its own signature's
# business: stem ("small" or "imagenet"), width (a multiplier of the channel counts), depth (a multiplier of the blocks
# of each stage), image_size (side in pixels).
# Facts of an entry: year, family, paper; smallest: stem → the smallest image side in pixels that the network takes.
ARCHITECTURES: Registry[Callable[..., nn.Module]] = Registry("architecture")


def scaled(channels: int, width: float) -> int:
    """``channels`` times the width multiplier, at least 1."""
    return max(1, round(channels * width))


def deepened(blocks: int, depth: float) -> int:
    """A stage's ``blocks`` times the depth multiplier, rounded up as in EfficientNet (arXiv:1905.11946), at least 1."""
    return max(1, math.ceil(round(blocks * depth, 6)))  # rounded first: 25 × 2.2 is 55.00000000000001
