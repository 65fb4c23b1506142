"""ConvNeXt (Liu et al. 2022, arXiv:2201.03545), torchvision's class; the size "atto" is timm's and ConvNeXt V2's
(arXiv:2301.00808), in no table of the first paper."""

from torch import nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

from cnnbench.architectures.catalogue import ARCHITECTURES, deepened, scaled
from cnnbench.architectures.stem import replace_conv

# blocks and channels of the four stages, rate of stochastic depth in the last block
_NETWORKS = {
    "convnext_atto": ((2, 2, 6, 2), (40, 80, 160, 320), 0.0),
    "convnext_tiny": ((3, 3, 9, 3), (96, 192, 384, 768), 0.1),
    "convnext_small": ((3, 3, 27, 3), (96, 192, 384, 768), 0.4),
    "convnext_base": ((3, 3, 27, 3), (128, 256, 512, 1024), 0.5),
    "convnext_large": ((3, 3, 27, 3), (192, 384, 768, 1536), 0.5),
}


def _register(name: str, blocks: tuple[int, ...], channels: tuple[int, ...], stochastic_depth: float) -> None:
    @ARCHITECTURES.register(
        name, year=2022, family="ConvNeXt", paper="arXiv:2201.03545", smallest={"small": 16, "imagenet": 32}
    )
    def convnext(
        num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0, depth: float = 1.0
    ) -> nn.Module:
        """The small stem cuts the image into patches of 2×2, not 4×4."""
        sizes = [scaled(count, width) for count in channels]
        counts = [deepened(count, depth) for count in blocks]
        stages = [CNBlockConfig(*stage) for stage in zip(sizes, [*sizes[1:], None], counts, strict=True)]
        network: nn.Module = ConvNeXt(stages, stochastic_depth, num_classes=num_classes)
        patch = 2 if stem == "small" else 4
        if stem == "small" or in_channels != 3:
            first = replace_conv(network, "features.0.0", in_channels=in_channels, kernel_size=patch, stride=patch)
            nn.init.trunc_normal_(first.weight, std=0.02)
            nn.init.constant_(first.get_parameter("bias"), 0)
        return network


for _name, _network in _NETWORKS.items():
    _register(_name, *_network)
