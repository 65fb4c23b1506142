"""ShuffleNetV2 (Ma et al. 2018, arXiv:1807.11164), torchvision's."""

from torch import nn
from torchvision.models.shufflenetv2 import ShuffleNetV2

from cnnbench.architectures.catalogue import ARCHITECTURES
from cnnbench.architectures.stem import replace_conv

_BLOCKS = [4, 8, 4]
_SMALLEST = {"small": 8, "imagenet": 32}


def _shufflenet_v2(channels: list[int], num_classes: int, in_channels: int, stem: str) -> nn.Module:
    """The small stem has stride 1 and no max-pooling: 1/8 of the side remains, not 1/32."""
    network: nn.Module = ShuffleNetV2(_BLOCKS, channels, num_classes)
    if stem == "small":
        replace_conv(network, "conv1.0", in_channels=in_channels, stride=1)
        network.maxpool = nn.Identity()
    elif in_channels != 3:
        replace_conv(network, "conv1.0", in_channels=in_channels)
    return network


@ARCHITECTURES.register(
    "shufflenet_v2_x0_5", year=2018, family="ShuffleNet", paper="arXiv:1807.11164", smallest=_SMALLEST
)
def shufflenet_v2_x0_5(num_classes: int, in_channels: int = 3, *, stem: str = "small") -> nn.Module:
    return _shufflenet_v2([24, 48, 96, 192, 1024], num_classes, in_channels, stem)


@ARCHITECTURES.register(
    "shufflenet_v2_x1_0", year=2018, family="ShuffleNet", paper="arXiv:1807.11164", smallest=_SMALLEST
)
def shufflenet_v2_x1_0(num_classes: int, in_channels: int = 3, *, stem: str = "small") -> nn.Module:
    return _shufflenet_v2([24, 116, 232, 464, 1024], num_classes, in_channels, stem)
