"""ResNet-18 with the convolutional block attention module (CBAM, Woo et al. 2018, arXiv:1807.06521)."""

import torch
from torch import Tensor, nn

from cnnbench.architectures.basic_resnet import SMALLEST, BasicBlock, BasicResNet
from cnnbench.architectures.catalogue import ARCHITECTURES


class ChannelAttention(nn.Module):
    """Weights each channel by sigmoid(MLP(its mean) + MLP(its maximum)); one MLP for both, of C/16 hidden units."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden, bias=False), nn.ReLU(inplace=True), nn.Linear(hidden, channels, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3))))
        return x * gate[:, :, None, None]


class SpatialAttention(nn.Module):
    """Weights each pixel by the sigmoid of a 7×7 convolution of two maps: the channels' mean and their maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size=7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.conv(maps))


class CBAM(nn.Module):
    """Channel attention, then spatial attention: the paper's best order. By its equations, so without the biases and
    the batch norm that the authors' code adds."""

    opaque = True  # a gate: nothing in it is a place for a component
    component = "attention"  # but it is one itself

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel = ChannelAttention(channels)
        self.spatial = SpatialAttention()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.spatial(self.channel(x))
        return out


class CBAMBlock(BasicBlock):
    """CBAM at the end of the branch (the paper's figure 3)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__(in_channels, channels, stride)
        self.attention = CBAM(channels)

    def branch(self, x: Tensor) -> Tensor:
        out: Tensor = self.attention(super().branch(x))
        return out


@ARCHITECTURES.register("cbam_resnet18", year=2018, family="ResNet", paper="arXiv:1807.06521", smallest=SMALLEST)
def cbam_resnet18(
    num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0, depth: float = 1.0
) -> nn.Module:
    """11.78 million parameters at 1000 classes, as in the paper's table 4."""
    return BasicResNet(CBAMBlock, num_classes, in_channels, stem, width, depth)
