"""VGG (Simonyan & Zisserman 2014, arXiv:1409.1556), with and without batch normalisation (2015, arXiv:1502.03167)."""

from torch import nn
from torchvision.models.vgg import VGG

from cnnbench.architectures.catalogue import ARCHITECTURES, scaled
from cnnbench.architectures.vgg_gap import GlobalPoolingVGG, vgg_features


def _vgg(layers: str, batch_norm: bool, num_classes: int, in_channels: int, stem: str, width: float) -> nn.Module:
    """With the small stem global average pooling takes the place of the fifth max-pooling and of the 4096-4096 head."""
    features = vgg_features(layers, batch_norm, in_channels, width)
    if stem == "small":
        return GlobalPoolingVGG(features[:-1], scaled(512, width), num_classes)
    if width != 1:
        raise ValueError("vgg: width applies to the small stem; with the imagenet stem it must be 1")
    network: nn.Module = VGG(features, num_classes)
    return network


def _register(name: str, layers: str, batch_norm: bool) -> None:
    @ARCHITECTURES.register(
        name,
        year=2015 if batch_norm else 2014,
        family="VGG",
        paper="arXiv:1409.1556",
        smallest={"small": 16, "imagenet": 32},
    )
    def vgg(num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0) -> nn.Module:
        return _vgg(layers, batch_norm, num_classes, in_channels, stem, width)


for _number, _layers in {11: "A", 13: "B", 16: "D", 19: "E"}.items():  # the columns of the paper's table 1
    _register(f"vgg{_number}", _layers, batch_norm=False)
    _register(f"vgg{_number}_bn", _layers, batch_norm=True)
