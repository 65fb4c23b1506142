"""Attention for feature maps: gates of (0, 1) that a map's own content sets."""

import torch
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from cnnbench.components.kinds import COMPONENTS, Place

ATTENTIONS = COMPONENTS["attention"]
REDUCTION = 16  # channels to one hidden unit: the default of both papers


@ATTENTIONS.register("none", same_as=())
def none(place: Place) -> nn.Module:
    """The maps as they are."""
    return nn.Identity()


class SqueezeExcite(SqueezeExcitation):  # type: ignore[misc]
    """x · sigmoid(W₂ relu(W₁ mean(x))), one gate a channel: torchvision's, with C/16 hidden units, at least 1."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, max(1, channels // REDUCTION))


@ATTENTIONS.register("squeeze_excite", same_as=(SqueezeExcite,))
def squeeze_excite(place: Place) -> nn.Module:
    """Squeeze and excitation (Hu et al. 2018, arXiv:1709.01507)."""
    return SqueezeExcite(place.channels)


class ChannelAttention(nn.Module):
    """x · sigmoid(MLP(mean(x)) + MLP(max(x))), one gate a channel; one MLP for both, of C/16 hidden units, at least 1,
    and without biases, as in the paper's equation 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // REDUCTION)
        self.fc1 = nn.Linear(channels, hidden, bias=False)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(hidden, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.stack([x.mean((2, 3)), x.amax((2, 3))])
        mean, peak = self.fc2(self.relu(self.fc1(pooled)))
        return x * torch.sigmoid(mean + peak)[:, :, None, None].to(x.dtype)


@ATTENTIONS.register("channel", same_as=(ChannelAttention,))
def channel(place: Place) -> nn.Module:
    """CBAM's first half (Woo et al. 2018, arXiv:1807.06521, equation 2)."""
    return ChannelAttention(place.channels)


class SpatialAttention(nn.Module):
    """x · sigmoid(conv₇ₓ₇([mean over the channels, maximum over the channels])), one gate a pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size=7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.conv(pooled)).to(x.dtype)


@ATTENTIONS.register("spatial", same_as=(SpatialAttention,))
def spatial(place: Place) -> nn.Module:
    """CBAM's second half (arXiv:1807.06521, equation 3)."""
    return SpatialAttention()


class CBAM(nn.Module):
    """Channel attention, then spatial attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel = ChannelAttention(channels)
        self.spatial = SpatialAttention()

    def forward(self, x: Tensor) -> Tensor:
        gated: Tensor = self.spatial(self.channel(x))
        return gated


@ATTENTIONS.register("cbam", same_as=(CBAM,))
def cbam(place: Place) -> nn.Module:
    """The convolutional block attention module (Woo et al. 2018, arXiv:1807.06521)."""
    return CBAM(place.channels)
