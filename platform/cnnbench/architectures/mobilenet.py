"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), torchvision's."""

from torch import nn
from torchvision.models.mobilenetv2 import MobileNetV2

from cnnbench.architectures.catalogue import ARCHITECTURES
from cnnbench.architectures.stem import replace_conv

# expansion, channels, blocks, stride (the paper's table 2), with stride 1 in the second stage, where the paper has 2
_SMALL_SETTING = [
    [1, 16, 1, 1],
    [6, 24, 2, 1],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
]


@ARCHITECTURES.register(
    "mobilenet_v2", year=2018, family="MobileNet", paper="arXiv:1801.04381", smallest={"small": 8, "imagenet": 32}
)
def mobilenet_v2(num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0) -> nn.Module:
    """The small stem has stride 1 in the first convolution and in the second stage: 1/8 of the side remains, not 1/32.
    Channels are rounded to multiples of 8, and a width below 1 leaves the last layer at 1280, as in the paper."""
    network: nn.Module = MobileNetV2(num_classes, width, _SMALL_SETTING if stem == "small" else None)
    if stem == "small" or in_channels != 3:
        stride = 1 if stem == "small" else 2
        first = replace_conv(network, "features.0.0", in_channels=in_channels, stride=stride)
        nn.init.kaiming_normal_(first.weight, mode="fan_out")
    return network
