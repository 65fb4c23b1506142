"""ShuffleNetV2 (Ma et al. 2018, arXiv:1807.11164), torchvision's."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import shufflenetv2
from torchvision.models.shufflenetv2 import ShuffleNetV2

from cnnbench.architectures.catalogue import ARCHITECTURES, scaled
from cnnbench.architectures.stem import replace_conv

_BLOCKS = [4, 8, 4]

# channels of the first convolution, of the three stages and of the last convolution (the paper's table 5)
_NETWORKS = {
    "shufflenet_v2_x0_5": (24, (48, 96, 192), 1024),
    "shufflenet_v2_x1_0": (24, (116, 232, 464), 1024),
    "shufflenet_v2_x1_5": (24, (176, 352, 704), 1024),
    "shufflenet_v2_x2_0": (24, (244, 488, 976), 2048),
}


class InvertedResidual(shufflenetv2.InvertedResidual):  # type: ignore[misc]
    """torchvision's, but that the shuffle keeps the memory layout: its own leaves channels-last maps in no layout that
    the next layers are fast in."""

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = x.chunk(2, dim=1) if self.stride == 1 else (self.branch1(x), x)
        return F.channel_shuffle(torch.cat((kept, self.branch2(changed)), dim=1), 2)


def _register(name: str, first: int, stages: tuple[int, ...], last: int) -> None:
    @ARCHITECTURES.register(
        name, year=2018, family="ShuffleNet", paper="arXiv:1807.11164", smallest={"small": 8, "imagenet": 32}
    )
    def shufflenet_v2(num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0) -> nn.Module:
        """The small stem has stride 1 and no max-pooling: 1/8 of the side remains, not 1/32. ``width`` multiplies the
        stages' channels, as the paper's sizes do."""
        channels = [2 * scaled(count // 2, width) for count in stages]  # a unit splits them into halves
        network: nn.Module = ShuffleNetV2(_BLOCKS, [first, *channels, last], num_classes, InvertedResidual)
        if stem == "small":
            replace_conv(network, "conv1.0", in_channels=in_channels, stride=1)
            network.maxpool = nn.Identity()
        elif in_channels != 3:
            replace_conv(network, "conv1.0", in_channels=in_channels)
        return network


for _name, _network in _NETWORKS.items():
    _register(_name, *_network)
