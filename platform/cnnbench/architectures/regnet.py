"""RegNet (Radosavovic et al. 2020, arXiv:2003.13678), torchvision's."""

from functools import partial

import torch
from torch import nn
from torchvision.models.regnet import BlockParams, RegNet

from cnnbench.architectures.catalogue import ARCHITECTURES
from cnnbench.architectures.stem import keep_resolution, replace_conv

# blocks, first width w_0, slope w_a, step w_m, channels of a group (the paper's section 3.3)
_NETWORKS = {
    "regnet_x_400mf": (22, 24, 24.48, 2.54, 16),
    "regnet_x_800mf": (16, 56, 35.73, 2.28, 16),
    "regnet_x_1_6gf": (18, 80, 34.01, 2.25, 24),
    "regnet_x_3_2gf": (25, 88, 26.31, 2.25, 48),
    "regnet_x_8gf": (23, 80, 49.56, 2.88, 120),
    "regnet_x_16gf": (22, 216, 55.59, 2.1, 128),
    "regnet_x_32gf": (23, 320, 69.86, 2.0, 168),
    "regnet_y_400mf": (16, 48, 27.89, 2.09, 8),
    "regnet_y_800mf": (14, 56, 38.84, 2.4, 16),
    "regnet_y_1_6gf": (27, 48, 20.71, 2.65, 24),
    "regnet_y_3_2gf": (21, 80, 42.63, 2.66, 24),
    "regnet_y_8gf": (17, 192, 76.82, 2.19, 56),
    "regnet_y_16gf": (18, 200, 106.23, 2.48, 112),
    "regnet_y_32gf": (20, 232, 115.89, 2.53, 232),
    "regnet_y_128gf": (27, 456, 160.83, 2.52, 264),
}


def _register(name: str, blocks: int, w_0: int, w_a: float, w_m: float, group_width: int) -> None:
    squeeze_excite = 0.25 if name.startswith("regnet_y") else None

    @ARCHITECTURES.register(
        name, year=2020, family="RegNet", paper="arXiv:2003.13678", smallest={"small": 8, "imagenet": 32}
    )
    def regnet(num_classes: int, in_channels: int = 3, *, stem: str = "small") -> nn.Module:
        """The small stem has stride 1 in the first convolution and in the first stage: 1/8 of the side remains, not
        1/32."""
        with torch.device("cpu"):  # it computes the widths with tensors, whose numbers the meta device does not have
            widths = BlockParams.from_init_params(blocks, w_0, w_a, w_m, group_width, se_ratio=squeeze_excite)
        norm = partial(nn.BatchNorm2d, eps=1e-05, momentum=0.1)
        network: nn.Module = RegNet(widths, num_classes, norm_layer=norm)
        if in_channels != 3:
            first = replace_conv(network, "stem.0", in_channels=in_channels)
            nn.init.kaiming_normal_(first.weight, mode="fan_out")
        if stem == "small":
            first_block = "trunk_output.block1.block1-0"
            keep_resolution(network, "stem.0", f"{first_block}.proj.0", f"{first_block}.f.b.0")
        return network


for _name, _network in _NETWORKS.items():
    _register(_name, *_network)
