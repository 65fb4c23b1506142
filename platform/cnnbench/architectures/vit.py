"""Vision Transformer (Dosovitskiy et al. 2020, arXiv:2010.11929), torchvision's: the reference without convolutions."""

import math

from torch import nn
from torchvision.models import VisionTransformer

from cnnbench.architectures.catalogue import ARCHITECTURES, deepened, scaled
from cnnbench.architectures.stem import replace_conv

# patch side, layers, attention heads, channels (the paper's table 1); the hidden layers have 4 times the channels
_NETWORKS = {
    "vit_b_16": (16, 12, 12, 768),
    "vit_b_32": (32, 12, 12, 768),
    "vit_l_16": (16, 24, 16, 1024),
    "vit_l_32": (32, 24, 16, 1024),
    "vit_h_14": (14, 32, 16, 1280),
}
_SMALL_PATCH = 4


def _register(name: str, patch_side: int, layers: int, heads: int, channels: int) -> None:
    @ARCHITECTURES.register(
        name,
        year=2020,
        family="ViT",
        paper="arXiv:2010.11929",
        smallest={"small": _SMALL_PATCH, "imagenet": patch_side},
    )
    def vit(
        num_classes: int,
        in_channels: int = 3,
        *,
        stem: str = "small",
        width: float = 1.0,
        depth: float = 1.0,
        image_size: int = 32,
    ) -> nn.Module:
        """The small stem cuts the image into patches of 4×4. There are as many positions as ``image_size`` has patches.
        ``width`` multiplies the heads, whose channels stay."""
        patch = _SMALL_PATCH if stem == "small" else patch_side
        if image_size % patch:
            raise ValueError(
                f"{name}: images of {image_size} pixels can't be cut into patches of {patch}, as its {stem} stem does; "
                f"use a multiple of {patch}"
            )
        hidden = scaled(heads, width) * (channels // heads)
        network: nn.Module = VisionTransformer(
            image_size,
            patch,
            deepened(layers, depth),
            scaled(heads, width),
            hidden,
            4 * hidden,
            num_classes=num_classes,
        )
        if in_channels != 3:
            first = replace_conv(network, "conv_proj", in_channels=in_channels)
            nn.init.trunc_normal_(first.weight, std=math.sqrt(1 / (in_channels * patch * patch)))
            nn.init.zeros_(first.get_parameter("bias"))
        return network


for _name, _network in _NETWORKS.items():
    _register(_name, *_network)
