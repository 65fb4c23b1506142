"""ResNet for ImageNet (He et al. 2015, arXiv:1512.03385), ResNeXt (Xie et al. 2016, arXiv:1611.05431) and ResNets with
wide bottlenecks (Zagoruyko & Komodakis 2016, arXiv:1605.07146): torchvision's, with a stem for small images."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from cnnbench.architectures.catalogue import ARCHITECTURES, deepened, scaled
from cnnbench.architectures.stem import replace_conv

_RESNET = {"year": 2015, "family": "ResNet", "paper": "arXiv:1512.03385"}
_RESNEXT = {"year": 2016, "family": "ResNeXt", "paper": "arXiv:1611.05431"}
_WIDE = {"year": 2016, "family": "Wide ResNet", "paper": "arXiv:1605.07146"}

# facts, block, blocks of each stage, groups of a bottleneck, channels of a group in the first stage
_NETWORKS: dict[str, tuple[Mapping[str, Any], Any, tuple[int, ...], int, int]] = {
    "resnet18": (_RESNET, BasicBlock, (2, 2, 2, 2), 1, 64),
    "resnet34": (_RESNET, BasicBlock, (3, 4, 6, 3), 1, 64),
    "resnet50": (_RESNET, Bottleneck, (3, 4, 6, 3), 1, 64),
    "resnet101": (_RESNET, Bottleneck, (3, 4, 23, 3), 1, 64),
    "resnet152": (_RESNET, Bottleneck, (3, 8, 36, 3), 1, 64),
    "resnext50_32x4d": (_RESNEXT, Bottleneck, (3, 4, 6, 3), 32, 4),
    "resnext101_32x8d": (_RESNEXT, Bottleneck, (3, 4, 23, 3), 32, 8),
    "resnext101_64x4d": (_RESNEXT, Bottleneck, (3, 4, 23, 3), 64, 4),
    "wide_resnet50_2": (_WIDE, Bottleneck, (3, 4, 6, 3), 1, 128),
    "wide_resnet101_2": (_WIDE, Bottleneck, (3, 4, 23, 3), 1, 128),
}


class _ScaledResNet(ResNet):  # type: ignore[misc]
    """torchvision's ResNet with its channel counts multiplied, which torchvision offers inside bottlenecks alone."""

    def __init__(self, block: Any, layers: list[int], num_classes: int, groups: int, per_group: int, width: float):
        self.width = width
        # the channels of a group are whole: 4 of 64 planes, so planes go in steps of 16
        self.step = 64 // per_group if groups > 1 else 1
        super().__init__(block, layers, num_classes, groups=groups, width_per_group=per_group)

    def planes(self, planes: int) -> int:
        return self.step * scaled(planes // self.step, self.width)

    def _make_layer(self, block: Any, planes: int, *args: Any, **options: Any) -> nn.Sequential:
        if planes == 64:  # the first stage: torchvision has set the stem's channels to 64
            self.inplanes = scaled(64, self.width)
        stage: nn.Sequential = super()._make_layer(block, self.planes(planes), *args, **options)
        return stage


def _register(
    name: str, facts: Mapping[str, Any], block: Any, blocks: tuple[int, ...], groups: int, per_group: int
) -> None:
    @ARCHITECTURES.register(name, **facts, smallest={"small": 8, "imagenet": 32})
    def resnet(
        num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0, depth: float = 1.0
    ) -> nn.Module:
        """The small stem is a 3×3 convolution of stride 1 and no max-pooling: 1/8 of the side remains, not 1/32."""
        layers = [deepened(count, depth) for count in blocks]
        network = _ScaledResNet(block, layers, num_classes, groups, per_group, width)
        if stem == "imagenet" and in_channels == 3 and width == 1:
            return network
        changes: dict[str, Any] = {"in_channels": in_channels, "out_channels": scaled(64, width)}
        if stem == "small":
            changes |= {"kernel_size": 3, "stride": 1, "padding": 1}
            network.maxpool = nn.Identity()
        first = replace_conv(network, "conv1", **changes)
        nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
        if width != 1:
            network.bn1 = nn.BatchNorm2d(scaled(64, width))
            network.fc = nn.Linear(network.planes(512) * block.expansion, num_classes)
        return network


for _name, _network in _NETWORKS.items():
    _register(_name, *_network)
