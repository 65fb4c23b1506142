"""EfficientNet (Tan & Le 2019, arXiv:1905.11946) and EfficientNetV2 (Tan & Le 2021, arXiv:2104.00298), torchvision's
class."""

from functools import partial
from typing import Any

from torch import nn
from torchvision.models.efficientnet import EfficientNet, FusedMBConvConfig, MBConvConfig

from cnnbench.architectures.catalogue import ARCHITECTURES, deepened
from cnnbench.architectures.stem import keep_resolution, replace_conv

_SMALLEST = {"small": 8, "imagenet": 32}

# A row is a stage: expansion, kernel, stride, channels in, channels out, blocks.
Stages = tuple[tuple[Any, int, int, int, int, int, int], ...]
_MB, _FUSED = MBConvConfig, FusedMBConvConfig
_B0: Stages = (
    (_MB, 1, 3, 1, 32, 16, 1),
    (_MB, 6, 3, 2, 16, 24, 2),
    (_MB, 6, 5, 2, 24, 40, 2),
    (_MB, 6, 3, 2, 40, 80, 3),
    (_MB, 6, 5, 1, 80, 112, 3),
    (_MB, 6, 5, 2, 112, 192, 4),
    (_MB, 6, 3, 1, 192, 320, 1),
)
_V2_S: Stages = (
    (_FUSED, 1, 3, 1, 24, 24, 2),
    (_FUSED, 4, 3, 2, 24, 48, 4),
    (_FUSED, 4, 3, 2, 48, 64, 4),
    (_MB, 4, 3, 2, 64, 128, 6),
    (_MB, 6, 3, 1, 128, 160, 9),
    (_MB, 6, 3, 2, 160, 256, 15),
)
_V2_M: Stages = (
    (_FUSED, 1, 3, 1, 24, 24, 3),
    (_FUSED, 4, 3, 2, 24, 48, 5),
    (_FUSED, 4, 3, 2, 48, 80, 5),
    (_MB, 4, 3, 2, 80, 160, 7),
    (_MB, 6, 3, 1, 160, 176, 14),
    (_MB, 6, 3, 2, 176, 304, 18),
    (_MB, 6, 3, 1, 304, 512, 5),
)
_V2_L: Stages = (
    (_FUSED, 1, 3, 1, 32, 32, 4),
    (_FUSED, 4, 3, 2, 32, 64, 7),
    (_FUSED, 4, 3, 2, 64, 96, 7),
    (_MB, 4, 3, 2, 96, 192, 10),
    (_MB, 6, 3, 1, 192, 224, 19),
    (_MB, 6, 3, 2, 224, 384, 25),
    (_MB, 6, 3, 1, 384, 640, 7),
)

# multipliers of B0's channels and blocks, dropout
_SCALED_B0 = {
    "efficientnet_b0": (1.0, 1.0, 0.2),
    "efficientnet_b1": (1.0, 1.1, 0.2),
    "efficientnet_b2": (1.1, 1.2, 0.3),
    "efficientnet_b3": (1.2, 1.4, 0.3),
    "efficientnet_b4": (1.4, 1.8, 0.4),
    "efficientnet_b5": (1.6, 2.2, 0.4),
    "efficientnet_b6": (1.8, 2.6, 0.5),
    "efficientnet_b7": (2.0, 3.1, 0.5),
}
_V2 = {
    "efficientnet_v2_s": (_V2_S, 0.2),
    "efficientnet_v2_m": (_V2_M, 0.3),
    "efficientnet_v2_l": (_V2_L, 0.4),
}
_TENSORFLOW_NORM = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)


def _configs(stages: Stages, width: float, depth: float, small: bool) -> list[Any]:
    """Channels are rounded to multiples of 8, blocks up. The small stem has stride 1 in the second stage."""
    configs = []
    for number, (config, expansion, kernel, stride, channels_in, channels_out, blocks) in enumerate(stages):
        stride = 1 if small and number == 1 else stride
        channels = [config.adjust_channels(count, width) for count in (channels_in, channels_out)]
        configs.append(config(expansion, kernel, stride, *channels, deepened(blocks, depth)))
    return configs


def _build(configs: list[Any], num_classes: int, in_channels: int, stem: str, **options: Any) -> nn.Module:
    """The small stem has stride 1 in the first convolution and in the second stage: 1/8 of the side remains, not
    1/32."""
    network: nn.Module = EfficientNet(configs, num_classes=num_classes, **options)
    if in_channels != 3:
        first = replace_conv(network, "features.0.0", in_channels=in_channels)
        nn.init.kaiming_normal_(first.weight, mode="fan_out")
    if stem == "small":
        keep_resolution(network, "features.0.0")
    return network


def _register_b(name: str, channels: float, blocks: float, dropout: float) -> None:
    norm = _TENSORFLOW_NORM if name in ("efficientnet_b5", "efficientnet_b6", "efficientnet_b7") else None

    @ARCHITECTURES.register(name, year=2019, family="EfficientNet", paper="arXiv:1905.11946", smallest=_SMALLEST)
    def efficientnet(
        num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0, depth: float = 1.0
    ) -> nn.Module:
        configs = _configs(_B0, channels * width, blocks * depth, stem == "small")
        return _build(configs, num_classes, in_channels, stem, dropout=dropout, norm_layer=norm)


def _register_v2(name: str, stages: Stages, dropout: float) -> None:
    @ARCHITECTURES.register(name, year=2021, family="EfficientNetV2", paper="arXiv:2104.00298", smallest=_SMALLEST)
    def efficientnet_v2(
        num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0, depth: float = 1.0
    ) -> nn.Module:
        """The last layer stays at 1280 channels, whatever the width."""
        configs = _configs(stages, width, depth, stem == "small")
        norm = partial(nn.BatchNorm2d, eps=0.001)
        return _build(configs, num_classes, in_channels, stem, dropout=dropout, norm_layer=norm, last_channel=1280)


for _name, _b in _SCALED_B0.items():
    _register_b(_name, *_b)
for _name, _v2 in _V2.items():
    _register_v2(_name, *_v2)
