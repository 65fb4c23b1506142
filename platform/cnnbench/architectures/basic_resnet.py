"""ResNet-18 (He et al. 2015, arXiv:1512.03385), written out for the networks that change one thing in it."""

from collections.abc import Callable

from torch import Tensor, nn

from cnnbench.architectures.catalogue import deepened, scaled

SMALLEST = {"small": 8, "imagenet": 32}


class BasicBlock(nn.Module):
    """Two 3×3 convolutions; where the shape changes, the shortcut is a 1×1 convolution and a norm (option B)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != channels:
            self.shortcut.append(nn.Conv2d(in_channels, channels, kernel_size=1, stride=stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(channels))
        self.act2 = nn.ReLU(inplace=True)

    def branch(self, x: Tensor) -> Tensor:
        y = self.act1(self.norm1(self.conv1(x)))
        out: Tensor = self.norm2(self.conv2(y))
        return out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act2(self.branch(x) + self.shortcut(x))
        return out


class BasicResNet(nn.Module):
    """Four stages of two blocks (times ``depth``), of 64, 128, 256 and 512 channels (times ``width``).

    The imagenet stem is a 7×7 convolution of stride 2 and a max-pooling, the small one a 3×3 convolution.
    block: called with the channels before and in it and its stride.
    """

    def __init__(
        self,
        block: Callable[[int, int, int], nn.Module],
        num_classes: int,
        in_channels: int,
        stem: str,
        width: float,
        depth: float,
    ) -> None:
        super().__init__()
        channels = [scaled(count, width) for count in (64, 64, 128, 256, 512)]
        kernel_size, stride = (3, 1) if stem == "small" else (7, 2)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels[0], kernel_size, stride, padding=kernel_size // 2, bias=False),
            nn.BatchNorm2d(channels[0]),
            nn.ReLU(inplace=True),
        )
        if stem == "imagenet":
            self.stem.append(nn.MaxPool2d(kernel_size=3, stride=2, padding=1))
        self.stages = nn.Sequential()
        for number in range(1, len(channels)):
            before, here = channels[number - 1], channels[number]
            first = block(before, here, 1 if number == 1 else 2)
            rest = [block(here, here, 1) for _ in range(deepened(2, depth) - 1)]
            self.stages.append(nn.Sequential(first, *rest))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(channels[-1], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) to features (N, 512), times ``width``."""
        features: Tensor = self.flatten(self.avgpool(self.stages(self.stem(x))))
        return features

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.features(x))
        return logits
