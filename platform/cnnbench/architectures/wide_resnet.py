"""Wide residual networks (Zagoruyko & Komodakis 2016, arXiv:1605.07146): pre-activation blocks, few and wide."""

from torch import Tensor, nn

from cnnbench.architectures.catalogue import ARCHITECTURES, deepened, scaled
from cnnbench.architectures.preact_resnet import PreActBlock, PreActResNet


class WideBlock(PreActBlock):
    """The paper's B(3,3), with its dropout between the convolutions. That is off, as in most of the paper's tables;
    the paper's section 3 also has 0.3, which a study sets as ``dropout``."""

    def __init__(self, in_channels: int, channels: int, stride: int, shared: bool) -> None:
        super().__init__(in_channels, channels, stride, shared)
        self.dropout = nn.Dropout(0.0)

    def branch(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(self.dropout(self.act2(self.norm2(self.conv1(x)))))
        return y


def _wide_resnet(blocks: int, factor: int, num_classes: int, in_channels: int, width: float, depth: float) -> nn.Module:
    """WRN-n-k: n = 6 × ``blocks`` + 4 layers, k = ``factor`` times the 16, 32 and 64 channels of ResNet-20."""
    channels = [scaled(count, width) for count in (16, 16 * factor, 32 * factor, 64 * factor)]
    return PreActResNet(WideBlock, deepened(blocks, depth), channels, num_classes, in_channels)


@ARCHITECTURES.register(
    "wide_resnet28_10", year=2016, family="Wide ResNet", paper="arXiv:1605.07146", smallest={"small": 4}
)
def wide_resnet28_10(num_classes: int, in_channels: int = 3, *, width: float = 1.0, depth: float = 1.0) -> nn.Module:
    return _wide_resnet(4, 10, num_classes, in_channels, width, depth)


@ARCHITECTURES.register(
    "wide_resnet40_4", year=2016, family="Wide ResNet", paper="arXiv:1605.07146", smallest={"small": 4}
)
def wide_resnet40_4(num_classes: int, in_channels: int = 3, *, width: float = 1.0, depth: float = 1.0) -> nn.Module:
    return _wide_resnet(6, 4, num_classes, in_channels, width, depth)
