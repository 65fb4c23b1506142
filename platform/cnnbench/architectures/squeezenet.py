"""SqueezeNet (Iandola et al. 2016, arXiv:1602.07360), torchvision's; 1.1 is the authors' later, cheaper release."""

from typing import Any

from torch import nn
from torchvision.models.squeezenet import SqueezeNet

from cnnbench.architectures.catalogue import ARCHITECTURES
from cnnbench.architectures.stem import replace_conv


def _squeezenet(version: str, num_classes: int, in_channels: int, stem: str) -> nn.Module:
    """The small stem's first convolution is 3×3 with stride 1 and a padding of 1, so that three poolings are left to
    shrink."""
    network: nn.Module = SqueezeNet(version, num_classes)
    changes: dict[str, Any] = {"kernel_size": 3, "stride": 1, "padding": 1} if stem == "small" else {}
    if changes or in_channels != 3:
        first = replace_conv(network, "features.0", in_channels=in_channels, **changes)
        nn.init.kaiming_uniform_(first.weight)
        nn.init.constant_(first.get_parameter("bias"), 0)
    return network


@ARCHITECTURES.register(
    "squeezenet1_0", year=2016, family="SqueezeNet", paper="arXiv:1602.07360", smallest={"small": 8, "imagenet": 21}
)
def squeezenet1_0(num_classes: int, in_channels: int = 3, *, stem: str = "small") -> nn.Module:
    return _squeezenet("1_0", num_classes, in_channels, stem)


@ARCHITECTURES.register(
    "squeezenet1_1", year=2016, family="SqueezeNet", paper="arXiv:1602.07360", smallest={"small": 8, "imagenet": 17}
)
def squeezenet1_1(num_classes: int, in_channels: int = 3, *, stem: str = "small") -> nn.Module:
    return _squeezenet("1_1", num_classes, in_channels, stem)
