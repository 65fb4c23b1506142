"""Swin Transformer (Liu et al. 2021, arXiv:2103.14030) and V2 (Liu et al. 2021, arXiv:2111.09883), torchvision's."""

from torch import nn
from torchvision.models import get_model

from cnnbench.architectures.catalogue import ARCHITECTURES
from cnnbench.architectures.stem import replace_conv


def _register(name: str, paper: str) -> None:
    @ARCHITECTURES.register(name, year=2021, family="Swin", paper=paper, smallest={"small": 16, "imagenet": 32})
    def swin(num_classes: int, in_channels: int = 3, *, stem: str = "small") -> nn.Module:
        """The small stem cuts the image into patches of 2×2, not 4×4. The windows keep their size; where the maps are
        smaller, torchvision fills the windows up with zeros, to which attention is then paid as well."""
        network: nn.Module = get_model(name, weights=None, num_classes=num_classes)
        patch = 2 if stem == "small" else 4
        if stem == "small" or in_channels != 3:
            replace_conv(network, "features.0.0", in_channels=in_channels, kernel_size=patch, stride=patch)
        return network


for _size in "tsb":
    _register(f"swin_{_size}", "arXiv:2103.14030")
for _size in "tsb":
    _register(f"swin_v2_{_size}", "arXiv:2111.09883")
