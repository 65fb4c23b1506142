"""ConvNeXt (Liu et al. 2022, arXiv:2201.03545), torchvision's class; the size "atto" is timm's and ConvNeXt V2's
(arXiv:2301.00808), in no table of the first paper."""

from torch import nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

from cnnbench.architectures.catalogue import ARCHITECTURES, scaled
from cnnbench.architectures.stem import replace_conv

_SMALLEST = {"small": 16, "imagenet": 32}


def _convnext(
    blocks: list[int],
    channels: list[int],
    stochastic_depth: float,
    num_classes: int,
    in_channels: int,
    stem: str,
    width: float,
) -> nn.Module:
    """The small stem cuts the image into patches of 2×2, not 4×4."""
    sizes = [scaled(count, width) for count in channels]
    stages = [CNBlockConfig(*stage) for stage in zip(sizes, [*sizes[1:], None], blocks, strict=True)]
    network: nn.Module = ConvNeXt(stages, stochastic_depth, num_classes=num_classes)
    patch = 2 if stem == "small" else 4
    if stem == "small" or in_channels != 3:
        first = replace_conv(network, "features.0.0", in_channels=in_channels, kernel_size=patch, stride=patch)
        nn.init.trunc_normal_(first.weight, std=0.02)
        nn.init.constant_(first.get_parameter("bias"), 0)
    return network


@ARCHITECTURES.register("convnext_atto", year=2022, family="ConvNeXt", paper="arXiv:2201.03545", smallest=_SMALLEST)
def convnext_atto(num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0) -> nn.Module:
    return _convnext([2, 2, 6, 2], [40, 80, 160, 320], 0.0, num_classes, in_channels, stem, width)


@ARCHITECTURES.register("convnext_tiny", year=2022, family="ConvNeXt", paper="arXiv:2201.03545", smallest=_SMALLEST)
def convnext_tiny(num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0) -> nn.Module:
    return _convnext([3, 3, 9, 3], [96, 192, 384, 768], 0.1, num_classes, in_channels, stem, width)
