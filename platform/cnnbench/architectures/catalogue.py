"""The catalogue that every architecture registers in, and through which those from outside are found."""

import math
from collections.abc import Callable

from torch import nn

from cnnbench.architectures import foreign
from cnnbench.registry import Entry, Registry


class Catalogue(Registry[Callable[..., nn.Module]]):
    """The registered architectures; a name with a colon (``timm:NAME``, ``package.module:callable``) is looked up
    outside, where it may not exist."""

    def __getitem__(self, name: str) -> Entry[Callable[..., nn.Module]]:
        return foreign.find(name) if ":" in name else super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        """True for every name with a colon: whether there is such a thing, the lookup says, with the reason."""
        return (isinstance(name, str) and ":" in name) or super().__contains__(name)


# A factory is called as factory(num_classes, in_channels, **options). Which options there are is its own signature's
# business: stem ("small" or "imagenet"), width (a multiplier of the channel counts), depth (a multiplier of the blocks
# of each stage), image_size (side in pixels).
# Facts of an entry: year, family, paper; smallest: stem → the smallest image side in pixels that the network takes:
# below, the forward pass fails, or (padding lets a single pixel through most networks) one pixel of the last maps
# stands for more than the image.
# Some have params: stem → how many there are on colour images, of 32 pixels and 10 classes, but with the imagenet stem
# of 224 and 1,000; a test counts them.
ARCHITECTURES = Catalogue("architecture", "cnnbench models")


def scaled(channels: int, width: float) -> int:
    """``channels`` times the width multiplier, at least 1."""
    return max(1, round(channels * width))


def deepened(blocks: int, depth: float) -> int:
    """A stage's ``blocks`` times the depth multiplier, rounded up as in EfficientNet (arXiv:1905.11946), at least 1."""
    return max(1, math.ceil(round(blocks * depth, 6)))  # rounded first: 25 × 2.2 is 55.00000000000001
