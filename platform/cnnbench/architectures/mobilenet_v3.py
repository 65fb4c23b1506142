"""MobileNetV3 (Howard et al. 2019, arXiv:1905.02244), torchvision's."""

from collections.abc import Callable

from torch import nn
from torchvision.models import mobilenet_v3_large, mobilenet_v3_small

from cnnbench.architectures.catalogue import ARCHITECTURES
from cnnbench.architectures.stem import keep_resolution, replace_conv


def _register(name: str, builder: Callable[..., nn.Module], second_stride: str) -> None:
    @ARCHITECTURES.register(
        name, year=2019, family="MobileNet", paper="arXiv:1905.02244", smallest={"small": 8, "imagenet": 32}
    )
    def mobilenet_v3(num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0) -> nn.Module:
        """The small stem has stride 1 in the first two convolutions that have stride 2: 1/8 of the side remains, not
        1/32. Channels are rounded to multiples of 8."""
        network = builder(weights=None, num_classes=num_classes, width_mult=width)
        if in_channels != 3:
            first = replace_conv(network, "features.0.0", in_channels=in_channels)
            nn.init.kaiming_normal_(first.weight, mode="fan_out")
        if stem == "small":
            keep_resolution(network, "features.0.0", second_stride)
        return network


_register("mobilenet_v3_large", mobilenet_v3_large, "features.2.block.1.0")
_register("mobilenet_v3_small", mobilenet_v3_small, "features.1.block.0.0")
