"""Normalisation of feature maps."""

import torch
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

    @property
    def normalized_shape(self) -> tuple[int, ...]:
        return self.norm.normalized_shape

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(x.movedim(1, -1))
        return y.movedim(-1, 1)


@NORMALIZATIONS.register(
    "layer",
    same_as=(nn.LayerNorm, ChannelLayerNorm),
    same_with={"normalized_shape": lambda channels: (channels,)},
)
def layer(place: Place) -> nn.Module:
    """Over the channels, at each position by itself (Ba et al. 2016, arXiv:1607.06450; as ConvNeXt uses it). The norm
    over channels and positions together is "layer_chw"."""
    if place.channels == 1:
        raise Unsuitable("layer normalisation over one channel is always zero; choose batch, layer_chw or none")
    return ChannelLayerNorm(place.channels) if place.channel_dim == 1 else nn.LayerNorm(place.channels)


def groups_of(channels: int) -> int:
    """The largest number of equal groups that leaves each at least 16 channels (Wu & He 2018, table 3), or 1."""
    return max(groups for groups in range(1, max(1, channels // 16) + 1) if channels % groups == 0)


def _group(groups: int, place: Place) -> nn.Module:
    if place.channels % groups:
        fitting = [number for number in range(1, place.channels + 1) if place.channels % number == 0]
        raise Unsuitable(
            f"{place.channels} channels don't make {groups} equal groups, only {', '.join(map(str, fitting))}; "
            "choose group, whose number of groups follows the channels"
        )
    if place.channels * place.positions == groups:
        raise Unsuitable("a group of one channel of a 1×1 map is always zero; choose batch, layer, group or none")
    return in_layout(nn.GroupNorm(groups, place.channels), place)


@NORMALIZATIONS.register("group", same_as=(nn.GroupNorm,), same_with={"num_groups": groups_of})
def group(place: Place) -> nn.Module:
    """Groups of at least 16 channels over all positions (Wu & He 2018, arXiv:1803.08494)."""
    return _group(groups_of(place.channels), place)


@NORMALIZATIONS.register("group_8", same_as=(nn.GroupNorm,), same_with={"num_groups": 8})
def group_8(place: Place) -> nn.Module:
    """8 groups, whatever the number of channels (arXiv:1803.08494)."""
    return _group(8, place)


@NORMALIZATIONS.register("group_32", same_as=(nn.GroupNorm,), same_with={"num_groups": 32})
def group_32(place: Place) -> nn.Module:
    """32 groups, the paper's default (arXiv:1803.08494)."""
    return _group(32, place)


@NORMALIZATIONS.register("layer_chw", same_as=(nn.GroupNorm,), same_with={"num_groups": 1})
def layer_chw(place: Place) -> nn.Module:
    """Over the channels and positions of an image together (Ba et al. 2016, arXiv:1607.06450): one group. Scale and
    shift are of each channel, as group normalisation has them, and not of each pixel, as nn.LayerNorm([C, H, W])."""
    return _group(1, place)


@NORMALIZATIONS.register("instance", same_as=(nn.InstanceNorm2d,), same_with={"affine": True})
def instance(place: Place) -> nn.Module:
    """Each channel of each image over its positions, with a learned scale and shift (arXiv:1607.08022)."""
    if place.positions == 1:
        raise Unsuitable("instance normalisation of a 1×1 map is always zero; choose batch, layer, group or none")
    return in_layout(nn.InstanceNorm2d(place.channels, affine=True), place)


class SwitchableNorm2d(nn.Module):
    """Maps (N, C, H, W), normalised with a mean and a variance that are each a learned mixture of the instance's, the
    layer's (over C, H and W) and the batch's.

    The mixtures are softmaxes of mean_weight and var_weight (instance, layer, batch), even at first. In evaluation the
    batch's part comes from running averages, of the same biased variance that training uses.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.mean_weight = nn.Parameter(torch.ones(3))
        self.var_weight = nn.Parameter(torch.ones(3))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        # var_mean reads the map once; the other two statistics follow from the instance's, as in the paper's section 3
        var, mean = torch.var_mean(exact, (2, 3), correction=0)
        square = var + mean**2
        layer_mean = mean.mean(1, keepdim=True)
        layer_var = square.mean(1, keepdim=True) - layer_mean**2
        batch_mean, batch_var = self._batch(mean, square)
        a, b = self.mean_weight.softmax(0), self.var_weight.softmax(0)
        mixed_mean = a[0] * mean + a[1] * layer_mean + a[2] * batch_mean
        mixed_var = b[0] * var + b[1] * layer_var + b[2] * batch_var
        # a difference of squares may round below zero
        scale = self.weight * torch.rsqrt(mixed_var.clamp(min=0) + self.eps)
        shift = self.bias - scale * mixed_mean
        return torch.addcmul(shift[:, :, None, None], exact, scale[:, :, None, None]).to(x.dtype)

    def _batch(self, mean: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
        if not self.training:
            return self.running_mean, self.running_var
        batch_mean = mean.mean(0)
        batch_var = square.mean(0) - batch_mean**2
        with torch.no_grad():
            self.running_mean.lerp_(batch_mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(batch_var.to(self.running_var.dtype), self.momentum)
        return batch_mean, batch_var


@NORMALIZATIONS.register("switchable", same_as=(SwitchableNorm2d,))
def switchable(place: Place) -> nn.Module:
    """A learned mixture of instance, layer and batch normalisation (Luo et al. 2018, arXiv:1806.10779)."""
    return in_layout(SwitchableNorm2d(place.channels), place)


@NORMALIZATIONS.register("none", same_as=(nn.Identity,))
def none(place: Place) -> nn.Module:
    """The maps as they are; the convolution before them gets a bias."""
    return nn.Identity()
