"""MobileNet (Howard et al. 2017, arXiv:1704.04861)."""

from torch import Tensor, nn

from cnnbench.architectures.catalogue import ARCHITECTURES, scaled

# channels and stride of the blocks: the paper's table 1, whose last stride of 2 is a slip, as 7×7 maps stay 7×7
_BLOCKS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]


class SeparableBlock(nn.Module):
    """A 3×3 convolution of each channel by itself, then a 1×1 convolution across channels."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, kernel_size=3, stride=stride, padding=1, groups=in_channels, bias=False
        )
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.act1 = nn.ReLU(inplace=True)
        self.pointwise = nn.Conv2d(in_channels, channels, kernel_size=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.act2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.norm1(self.depthwise(x)))
        out: Tensor = self.act2(self.norm2(self.pointwise(x)))
        return out


class MobileNetV1(nn.Module):
    """One convolution, 13 separable blocks, global average pooling and one linear layer on 1024 features.

    The small stem has stride 1 in the first convolution and in the second block: 1/8 of the side remains, not 1/32.
    """

    def __init__(self, num_classes: int, in_channels: int, stem: str, width: float) -> None:
        super().__init__()
        small = stem == "small"
        channels = scaled(32, width)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels, kernel_size=3, stride=1 if small else 2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.blocks = nn.Sequential()
        for number, (count, stride) in enumerate(_BLOCKS, start=1):
            self.blocks.append(SeparableBlock(channels, scaled(count, width), 1 if small and number == 2 else stride))
            channels = scaled(count, width)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.flatten(self.avgpool(self.blocks(self.stem(x)))))
        return logits


@ARCHITECTURES.register(
    "mobilenet_v1", year=2017, family="MobileNet", paper="arXiv:1704.04861", smallest={"small": 8, "imagenet": 32}
)
def mobilenet_v1(num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0) -> nn.Module:
    """4.2 million parameters at 1000 classes. A width of 0.75, 0.5 or 0.25 is the paper's multiplier α."""
    return MobileNetV1(num_classes, in_channels, stem, width)
