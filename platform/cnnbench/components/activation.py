"""Activations. All are PyTorch's own."""

import torch
from torch import nn
from torch.nn import functional as F

from cnnbench.components.kinds import COMPONENTS, Place, in_layout

ACTIVATIONS = COMPONENTS["activation"]


@ACTIVATIONS.register("relu", same_as=(nn.ReLU, F.relu, torch.relu, "relu"))
def relu(place: Place) -> nn.Module:
    return nn.ReLU()


@ACTIVATIONS.register("leaky_relu", same_as=(nn.LeakyReLU, F.leaky_relu))
def leaky_relu(place: Place) -> nn.Module:
    """Slope 0.01 below zero."""
    return nn.LeakyReLU(0.01)


@ACTIVATIONS.register("prelu", same_as=(nn.PReLU,))
def prelu(place: Place) -> nn.Module:
    """A learned slope for each channel, 0.25 at first (He et al. 2015, arXiv:1502.01852)."""
    return in_layout(nn.PReLU(place.channels), place)


@ACTIVATIONS.register("elu", same_as=(nn.ELU, F.elu))
def elu(place: Place) -> nn.Module:
    return nn.ELU()


@ACTIVATIONS.register("silu", same_as=(nn.SiLU, F.silu))
def silu(place: Place) -> nn.Module:
    """Also called swish, with β = 1."""
    return nn.SiLU()


@ACTIVATIONS.register("mish", same_as=(nn.Mish, F.mish))
def mish(place: Place) -> nn.Module:
    return nn.Mish()


@ACTIVATIONS.register("gelu", same_as=(nn.GELU, F.gelu))
def gelu(place: Place) -> nn.Module:
    """The exact form, not the tanh approximation."""
    return nn.GELU()


@ACTIVATIONS.register("relu6", same_as=(nn.ReLU6, F.relu6))
def relu6(place: Place) -> nn.Module:
    return nn.ReLU6()


@ACTIVATIONS.register("hardswish", same_as=(nn.Hardswish, F.hardswish))
def hardswish(place: Place) -> nn.Module:
    return nn.Hardswish()


@ACTIVATIONS.register("tanh", same_as=(nn.Tanh, F.tanh, torch.tanh, "tanh"))
def tanh(place: Place) -> nn.Module:
    return nn.Tanh()
