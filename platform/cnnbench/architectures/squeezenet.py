"""SqueezeNet 1.1 (Iandola et al. 2016, arXiv:1602.07360), torchvision's."""

from torch import nn
from torchvision.models.squeezenet import SqueezeNet

from cnnbench.architectures.catalogue import ARCHITECTURES
from cnnbench.architectures.stem import replace_conv


@ARCHITECTURES.register(
    "squeezenet1_1", year=2016, family="SqueezeNet", paper="arXiv:1602.07360", smallest={"small": 8, "imagenet": 21}
)
def squeezenet1_1(num_classes: int, in_channels: int = 3, *, stem: str = "small") -> nn.Module:
    """The small stem's first convolution has stride 1 and a padding of 1, so that three poolings are left to shrink."""
    network: nn.Module = SqueezeNet("1_1", num_classes)
    changes = {"stride": 1, "padding": 1} if stem == "small" else {}
    if changes or in_channels != 3:
        first = replace_conv(network, "features.0", in_channels=in_channels, **changes)
        nn.init.kaiming_uniform_(first.weight)
        nn.init.constant_(first.get_parameter("bias"), 0)
    return network
