"""VGG (Simonyan & Zisserman 2014, arXiv:1409.1556) with global average pooling (Lin et al. 2013, arXiv:1312.4400) and
one linear layer in place of its 4096-4096 head, with and without batch normalisation (2015, arXiv:1502.03167)."""

from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from cnnbench.architectures.catalogue import ARCHITECTURES, scaled
from cnnbench.architectures.stem import replace_conv

_LAYERS = {11: "A", 13: "B", 16: "D", 19: "E"}  # the columns of the paper's table 1


class GlobalPoolingVGG(nn.Module):
    """VGG's convolutions, then the mean of each of the last maps, whatever their size, then the logits."""

    def __init__(self, features: nn.Sequential, channels: int, num_classes: int) -> None:
        super().__init__()
        self.features = features
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


def vgg_features(layers: str, batch_norm: bool, in_channels: int, width: float) -> nn.Sequential:
    """torchvision's convolutions and poolings of configuration ``layers`` ("A", "B", "D" or "E")."""
    plan = [layer if isinstance(layer, str) else scaled(layer, width) for layer in cfgs[layers]]
    features: nn.Sequential = make_layers(plan, batch_norm=batch_norm)
    if in_channels != 3:
        replace_conv(features, "0", in_channels=in_channels)
    return features


def _register(layers: int, batch_norm: bool) -> None:
    """With the small stem the global pooling takes the place of the fifth max-pooling, so that 16×16 images fit."""

    @ARCHITECTURES.register(
        f"vgg{layers}{'_bn' if batch_norm else ''}_gap",
        year=2015 if batch_norm else 2014,
        family="VGG",
        paper="arXiv:1409.1556",
        smallest={"small": 16, "imagenet": 32},
    )
    def vgg_gap(num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0) -> nn.Module:
        features = vgg_features(_LAYERS[layers], batch_norm, in_channels, width)
        return GlobalPoolingVGG(features[:-1] if stem == "small" else features, scaled(512, width), num_classes)


for _layers in _LAYERS:
    _register(_layers, batch_norm=False)
    _register(_layers, batch_norm=True)
