"""Normalisation of feature maps."""

from torch import Tensor, nn

from cnnbench.components.kinds import COMPONENTS, Place, Unsuitable, in_layout

NORMALIZATIONS = COMPONENTS["normalization"]


@NORMALIZATIONS.register("batch", same_as=(nn.BatchNorm2d, nn.SyncBatchNorm))
def batch(place: Place) -> nn.Module:
    """Each channel over batch and positions (Ioffe & Szegedy 2015, arXiv:1502.03167)."""
    return in_layout(nn.BatchNorm2d(place.channels), place)


class ChannelLayerNorm(nn.Module):
    """Layer normalisation of (N, C, H, W) over the channels, at each position by itself, as in ConvNeXt."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(x.movedim(1, -1))
        return y.movedim(-1, 1)


@NORMALIZATIONS.register("layer", same_as=(nn.LayerNorm, ChannelLayerNorm))
def layer(place: Place) -> nn.Module:
    """Over the channels, at each position by itself (Ba et al. 2016, arXiv:1607.06450; as ConvNeXt uses it). It is not
    the norm over channels and positions together, which is "group" with one group."""
    return ChannelLayerNorm(place.channels) if place.channel_dim == 1 else nn.LayerNorm(place.channels)


def groups_of(channels: int) -> int:
    """The largest number of equal groups that leaves each at least 16 channels (Wu & He 2018, table 3), or 1."""
    return max(groups for groups in range(1, max(1, channels // 16) + 1) if channels % groups == 0)


@NORMALIZATIONS.register("group", same_as=(nn.GroupNorm,))
def group(place: Place) -> nn.Module:
    """Groups of at least 16 channels over all positions (Wu & He 2018, arXiv:1803.08494)."""
    return in_layout(nn.GroupNorm(groups_of(place.channels), place.channels), place)


@NORMALIZATIONS.register("instance", same_as=(nn.InstanceNorm2d,))
def instance(place: Place) -> nn.Module:
    """Each channel of each image over its positions, with a learned scale and shift (arXiv:1607.08022)."""
    if place.positions == 1:
        raise Unsuitable("instance normalisation of a 1×1 map is always zero; choose batch, layer, group or none")
    return in_layout(nn.InstanceNorm2d(place.channels, affine=True), place)


@NORMALIZATIONS.register("none", same_as=(nn.Identity,))
def none(place: Place) -> nn.Module:
    return nn.Identity()
