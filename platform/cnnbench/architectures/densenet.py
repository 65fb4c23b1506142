"""DenseNet (Huang et al. 2016, arXiv:1608.06993), torchvision's."""

from torch import nn
from torchvision.models import DenseNet

from cnnbench.architectures.catalogue import ARCHITECTURES, deepened, scaled
from cnnbench.architectures.stem import replace_conv

# growth rate, layers of each dense block, channels of the first convolution (the paper's table 1)
_NETWORKS = {
    "densenet121": (32, (6, 12, 24, 16), 64),
    "densenet161": (48, (6, 12, 36, 24), 96),
    "densenet169": (32, (6, 12, 32, 32), 64),
    "densenet201": (32, (6, 12, 48, 32), 64),
}


def _register(name: str, growth: int, layers: tuple[int, ...], first_channels: int) -> None:
    @ARCHITECTURES.register(
        name, year=2016, family="DenseNet", paper="arXiv:1608.06993", smallest={"small": 8, "imagenet": 32}
    )
    def densenet(
        num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0, depth: float = 1.0
    ) -> nn.Module:
        """The small stem is the paper's for CIFAR: a 3×3 convolution of stride 1 and no max-pooling. ``width``
        multiplies the growth rate and the first convolution's channels."""
        blocks = tuple(deepened(count, depth) for count in layers)
        network = DenseNet(scaled(growth, width), blocks, scaled(first_channels, width), num_classes=num_classes)
        changes = {"in_channels": in_channels}
        if stem == "small":
            changes |= {"kernel_size": 3, "stride": 1, "padding": 1}
            network.features.pool0 = nn.Identity()
        if stem == "small" or in_channels != 3:
            nn.init.kaiming_normal_(replace_conv(network, "features.conv0", **changes).weight)
        built: nn.Module = network
        return built


for _name, _network in _NETWORKS.items():
    _register(_name, *_network)
