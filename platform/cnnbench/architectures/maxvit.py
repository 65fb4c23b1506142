"""MaxViT (Tu et al. 2022, arXiv:2204.01697), torchvision's."""

from torch import nn
from torchvision.models import MaxVit

from cnnbench.architectures.catalogue import ARCHITECTURES
from cnnbench.architectures.stem import keep_resolution, replace_conv


@ARCHITECTURES.register(
    "maxvit_t", year=2022, family="MaxViT", paper="arXiv:2204.01697", smallest={"small": 16, "imagenet": 32}
)
def maxvit_t(num_classes: int, in_channels: int = 3, *, stem: str = "small", image_size: int = 32) -> nn.Module:
    """The small stem has stride 1 in the first convolution: 1/16 of the side remains, not 1/32. Windows and grids have
    the side of the last maps, as in the paper: 7 at 224 pixels, 12 at 384."""
    side = 16 if stem == "small" else 32
    if image_size % side:
        raise ValueError(
            f"maxvit_t: windows don't fit images of {image_size} pixels with its {stem} stem; use a multiple of {side}"
        )
    stride_2 = image_size * 32 // side  # the image that would have these maps behind a stem of stride 2
    network: nn.Module = MaxVit(
        input_size=(stride_2, stride_2),
        stem_channels=64,
        partition_size=image_size // side,
        block_channels=[64, 128, 256, 512],
        block_layers=[2, 2, 5, 2],
        head_dim=32,
        stochastic_depth_prob=0.2,
        num_classes=num_classes,
    )
    if in_channels != 3:
        nn.init.normal_(replace_conv(network, "stem.0.0", in_channels=in_channels).weight, std=0.02)
    if stem == "small":
        keep_resolution(network, "stem.0.0")
    return network
