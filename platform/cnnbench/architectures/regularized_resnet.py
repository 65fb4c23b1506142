"""ResNet-18 with the regularisers of convolutional networks in its blocks: Dropout2d (SpatialDropout, Tompson et al.
2015, arXiv:1411.4280) and stochastic depth (Huang et al. 2016, arXiv:1603.09382)."""

from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from cnnbench.architectures.basic_resnet import SMALLEST, BasicBlock, BasicResNet
from cnnbench.architectures.catalogue import ARCHITECTURES

# The rate at which DropBlock's paper compares such regularisers in ResNet-50 (arXiv:1810.12890, table 1: keep 0.9).
# Stochastic depth's own 0.5 is for 54 blocks, not for 8.
DROP_RATE = 0.1


class RegularizedBlock(BasicBlock):
    """Drops whole maps between the convolutions, and in training a sample's whole branch, scaling up what is kept."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__(in_channels, channels, stride)
        self.dropout = nn.Dropout2d(DROP_RATE)
        self.stochastic_depth = StochasticDepth(DROP_RATE, mode="row")

    def branch(self, x: Tensor) -> Tensor:
        y = self.dropout(self.act1(self.norm1(self.conv1(x))))
        out: Tensor = self.stochastic_depth(self.norm2(self.conv2(y)))
        return out


@ARCHITECTURES.register("regularized_resnet18", year=2016, family="ResNet", paper="arXiv:1603.09382", smallest=SMALLEST)
def regularized_resnet18(
    num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0, depth: float = 1.0
) -> nn.Module:
    """Of L blocks the l-th drops its branch at l/L times the rate: stochastic depth's linear rule."""
    network = BasicResNet(RegularizedBlock, num_classes, in_channels, stem, width, depth)
    branches = [module for module in network.modules() if isinstance(module, StochasticDepth)]
    for number, branch in enumerate(branches, start=1):
        branch.p = DROP_RATE * number / len(branches)
    return network
