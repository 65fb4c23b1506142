"""ResNet for small images (He et al. 2015, arXiv:1512.03385, section 4.2)."""

from torch import Tensor, nn
from torch.nn import functional as F

from cnnbench.architectures.catalogue import ARCHITECTURES, deepened, scaled


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a parameter-free shortcut (option A: every second pixel, new channels are zero)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.act2 = nn.ReLU(inplace=True)
        self.stride = stride
        self.new_channels = channels - in_channels

    def shortcut(self, x: Tensor) -> Tensor:
        if self.stride == 1 and self.new_channels == 0:
            return x
        before = self.new_channels // 2
        # the same as x[:, :, ::stride, ::stride], whose gradient would not be channels-last and slow down what follows
        pixels = F.avg_pool2d(x, kernel_size=1, stride=self.stride)
        return F.pad(pixels, (0, 0, 0, 0, before, self.new_channels - before))

    def forward(self, x: Tensor) -> Tensor:
        y = self.act1(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        out: Tensor = self.act2(y + self.shortcut(x))
        return out


class SmallResNet(nn.Module):
    """ResNet for 32×32 images: three stages of 16, 32 and 64 channels; 6n+2 layers with n blocks a stage."""

    def __init__(self, blocks: int, num_classes: int, in_channels: int, width: float) -> None:
        super().__init__()
        channels = [scaled(16, width), scaled(32, width), scaled(64, width)]
        self.conv1 = nn.Conv2d(in_channels, channels[0], kernel_size=3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels[0])
        self.act1 = nn.ReLU(inplace=True)
        self.stage1 = self._stage(channels[0], channels[0], 1, blocks)
        self.stage2 = self._stage(channels[0], channels[1], 2, blocks)
        self.stage3 = self._stage(channels[1], channels[2], 2, blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(channels[2], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @staticmethod
    def _stage(in_channels: int, channels: int, stride: int, blocks: int) -> nn.Sequential:
        rest = [BasicBlock(channels, channels, 1) for _ in range(blocks - 1)]
        return nn.Sequential(BasicBlock(in_channels, channels, stride), *rest)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.norm1(self.conv1(x)))
        x = self.stage3(self.stage2(self.stage1(x)))
        logits: Tensor = self.fc(self.flatten(self.avgpool(x)))
        return logits


@ARCHITECTURES.register("resnet20", year=2015, family="ResNet", paper="arXiv:1512.03385", smallest={"small": 4})
def resnet20(num_classes: int, in_channels: int = 3, *, width: float = 1.0, depth: float = 1.0) -> nn.Module:
    return SmallResNet(deepened(3, depth), num_classes, in_channels, width)


@ARCHITECTURES.register("resnet32", year=2015, family="ResNet", paper="arXiv:1512.03385", smallest={"small": 4})
def resnet32(num_classes: int, in_channels: int = 3, *, width: float = 1.0, depth: float = 1.0) -> nn.Module:
    return SmallResNet(deepened(5, depth), num_classes, in_channels, width)


@ARCHITECTURES.register("resnet44", year=2015, family="ResNet", paper="arXiv:1512.03385", smallest={"small": 4})
def resnet44(num_classes: int, in_channels: int = 3, *, width: float = 1.0, depth: float = 1.0) -> nn.Module:
    return SmallResNet(deepened(7, depth), num_classes, in_channels, width)


@ARCHITECTURES.register("resnet56", year=2015, family="ResNet", paper="arXiv:1512.03385", smallest={"small": 4})
def resnet56(num_classes: int, in_channels: int = 3, *, width: float = 1.0, depth: float = 1.0) -> nn.Module:
    return SmallResNet(deepened(9, depth), num_classes, in_channels, width)


@ARCHITECTURES.register("resnet110", year=2015, family="ResNet", paper="arXiv:1512.03385", smallest={"small": 4})
def resnet110(num_classes: int, in_channels: int = 3, *, width: float = 1.0, depth: float = 1.0) -> nn.Module:
    """The paper warms it up: a learning rate of 0.01 until the training error is below 80 %, then 0.1."""
    return SmallResNet(deepened(18, depth), num_classes, in_channels, width)
