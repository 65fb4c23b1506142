"""MnasNet-B1 (Tan et al. 2018, arXiv:1807.11626), torchvision's."""

from torch import nn
from torchvision.models import MNASNet

from cnnbench.architectures.catalogue import ARCHITECTURES
from cnnbench.architectures.stem import keep_resolution, replace_conv


def _register(name: str, multiplier: float) -> None:
    @ARCHITECTURES.register(
        name, year=2018, family="MnasNet", paper="arXiv:1807.11626", smallest={"small": 8, "imagenet": 32}
    )
    def mnasnet(num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0) -> nn.Module:
        """The small stem has stride 1 in the first convolution and in the first inverted residuals: 1/8 of the side
        remains, not 1/32. Channels are rounded to multiples of 8; the last layer stays at 1280."""
        network: nn.Module = MNASNet(multiplier * width, num_classes)
        if in_channels != 3:
            first = replace_conv(network, "layers.0", in_channels=in_channels)
            nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
        if stem == "small":
            keep_resolution(network, "layers.0", "layers.8.0.layers.3")
        return network


for _name, _multiplier in {"mnasnet0_5": 0.5, "mnasnet0_75": 0.75, "mnasnet1_0": 1.0, "mnasnet1_3": 1.3}.items():
    _register(_name, _multiplier)
