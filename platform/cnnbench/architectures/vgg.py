"""VGG (Simonyan & Zisserman 2014, arXiv:1409.1556), with and without batch normalisation (2015, arXiv:1502.03167)."""

from torch import Tensor, nn
from torchvision.models.vgg import VGG, cfgs, make_layers

from cnnbench.architectures.catalogue import ARCHITECTURES, scaled
from cnnbench.architectures.stem import replace_conv

_SMALLEST = {"small": 16, "imagenet": 32}


class SmallVGG(nn.Module):
    """VGG for small images: torchvision's convolutions, but global average pooling in place of the fifth max-pooling
    (so that 16×16 images fit), and one linear layer in place of the 4096-4096 head."""

    def __init__(self, features: nn.Sequential, channels: int, num_classes: int) -> None:
        super().__init__()
        self.features = features[:-1]
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(channels, num_classes)
        for module in self.features:
            if isinstance(module, nn.Conv2d):  # as torchvision's VGG does; 16 layers do not train without it
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.flatten(self.avgpool(self.features(x))))
        return logits


def _vgg(layers: str, batch_norm: bool, num_classes: int, in_channels: int, stem: str, width: float) -> nn.Module:
    plan = [layer if isinstance(layer, str) else scaled(layer, width) for layer in cfgs[layers]]
    features: nn.Sequential = make_layers(plan, batch_norm=batch_norm)
    if in_channels != 3:
        replace_conv(features, "0", in_channels=in_channels)
    if stem == "small":
        return SmallVGG(features, scaled(512, width), num_classes)
    if width != 1:
        raise ValueError("vgg: width applies to the small stem; with the imagenet stem it must be 1")
    network: nn.Module = VGG(features, num_classes)
    return network


@ARCHITECTURES.register("vgg11", year=2014, family="VGG", paper="arXiv:1409.1556", smallest=_SMALLEST)
def vgg11(num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0) -> nn.Module:
    return _vgg("A", False, num_classes, in_channels, stem, width)


@ARCHITECTURES.register("vgg11_bn", year=2015, family="VGG", paper="arXiv:1409.1556", smallest=_SMALLEST)
def vgg11_bn(num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0) -> nn.Module:
    return _vgg("A", True, num_classes, in_channels, stem, width)


@ARCHITECTURES.register("vgg16", year=2014, family="VGG", paper="arXiv:1409.1556", smallest=_SMALLEST)
def vgg16(num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0) -> nn.Module:
    return _vgg("D", False, num_classes, in_channels, stem, width)


@ARCHITECTURES.register("vgg16_bn", year=2015, family="VGG", paper="arXiv:1409.1556", smallest=_SMALLEST)
def vgg16_bn(num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0) -> nn.Module:
    return _vgg("D", True, num_classes, in_channels, stem, width)
