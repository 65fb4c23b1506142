"""ResNet with pre-activation (He et al. 2016, "Identity mappings in deep residual networks", arXiv:1603.05027)."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from cnnbench.architectures.catalogue import ARCHITECTURES, deepened, scaled


class PreActBlock(nn.Module):
    """Norm, activation and convolution, twice, and nothing behind the addition.

    Where the shape changes, the shortcut is a 1×1 convolution of the pre-activated input; ``shared``: in the first
    block, too, both paths start from it (the paper's appendix).
    """

    def __init__(self, in_channels: int, channels: int, stride: int, shared: bool) -> None:
        super().__init__()
        changes_shape = stride != 1 or in_channels != channels
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.act1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.act2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.shortcut = nn.Sequential()
        if changes_shape:
            self.shortcut.append(nn.Conv2d(in_channels, channels, kernel_size=1, stride=stride, bias=False))
        self.shared = shared or changes_shape

    def branch(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(self.act2(self.norm2(self.conv1(x))))
        return y

    def forward(self, x: Tensor) -> Tensor:
        activated = self.act1(self.norm1(x))
        out: Tensor = self.branch(activated) + self.shortcut(activated if self.shared else x)
        return out


class PreActResNet(nn.Module):
    """For small images: a 3×3 convolution; stages of ``blocks`` blocks, each stage but the first of stride 2; then the
    norm and activation that no block has behind it. channels: the first convolution's, then each stage's."""

    def __init__(
        self,
        block: Callable[[int, int, int, bool], nn.Module],
        blocks: int,
        channels: Sequence[int],
        num_classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels[0], kernel_size=3, padding=1, bias=False)
        self.stages = nn.Sequential()
        for number in range(1, len(channels)):
            before, here = channels[number - 1], channels[number]
            first = block(before, here, 1 if number == 1 else 2, number == 1)
            self.stages.append(nn.Sequential(first, *(block(here, here, 1, False) for _ in range(blocks - 1))))
        self.norm = nn.BatchNorm2d(channels[-1])
        self.act = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(channels[-1], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.stages(self.conv1(x))))
        logits: Tensor = self.fc(self.flatten(self.avgpool(x)))
        return logits


@ARCHITECTURES.register("preact_resnet18", year=2016, family="ResNet", paper="arXiv:1603.05027", smallest={"small": 8})
def preact_resnet18(num_classes: int, in_channels: int = 3, *, width: float = 1.0, depth: float = 1.0) -> nn.Module:
    """ResNet-18's stages; 11,172,170 parameters at 10 classes."""
    channels = [scaled(count, width) for count in (64, 64, 128, 256, 512)]
    return PreActResNet(PreActBlock, deepened(2, depth), channels, num_classes, in_channels)
