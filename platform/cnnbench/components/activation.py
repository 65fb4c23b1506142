"""Activations: torch's own where it has them; swish with a learned β and the funnel activation are written here."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnbench.components.kinds import COMPONENTS, Place, Unsuitable, in_layout

ACTIVATIONS = COMPONENTS["activation"]


@ACTIVATIONS.register("relu", same_as=(nn.ReLU, F.relu, torch.relu, "relu"))
def relu(place: Place) -> nn.Module:
    """max(x, 0) (Nair & Hinton 2010)."""
    return nn.ReLU()


@ACTIVATIONS.register("leaky_relu", same_as=(nn.LeakyReLU, F.leaky_relu), same_with={"negative_slope": 0.01})
def leaky_relu(place: Place) -> nn.Module:
    """max(x, 0) + 0.01 min(x, 0) (Maas et al. 2013)."""
    return nn.LeakyReLU(0.01)


@ACTIVATIONS.register("prelu", same_as=(nn.PReLU,), same_with={"num_parameters": lambda channels: channels})
def prelu(place: Place) -> nn.Module:
    """max(x, 0) + a min(x, 0) with a learned slope for each channel, 0.25 at first, which weight decay spares
    (He et al. 2015, arXiv:1502.01852)."""
    return in_layout(nn.PReLU(place.channels), place)


@ACTIVATIONS.register("elu", same_as=(nn.ELU, F.elu), same_with={"alpha": 1.0})
def elu(place: Place) -> nn.Module:
    """x above zero, exp(x) - 1 below (Clevert et al. 2015, arXiv:1511.07289)."""
    return nn.ELU()


@ACTIVATIONS.register("silu", same_as=(nn.SiLU, F.silu))
def silu(place: Place) -> nn.Module:
    """x sigmoid(x): swish with β = 1 (Elfwing et al. 2017, arXiv:1702.03118)."""
    return nn.SiLU()


class Swish(nn.Module):
    """x sigmoid(βx) with a learned β for each channel of (N, C, …), 1 at first: silu. With β = 0 it is x / 2, with β →
    ∞ it is relu."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        beta = self.beta.to(x.dtype).view(-1, *[1] * (x.ndim - 2))
        return x * torch.sigmoid(beta * x)


@ACTIVATIONS.register("swish", same_as=(Swish,))
def swish(place: Place) -> nn.Module:
    """x sigmoid(βx) with β trained (Ramachandran et al. 2017, arXiv:1710.05941): one for each channel, and as a
    parameter of one dimension spared from weight decay, which would pull it towards the linear x / 2."""
    return in_layout(Swish(place.channels), place)


@ACTIVATIONS.register("mish", same_as=(nn.Mish, F.mish))
def mish(place: Place) -> nn.Module:
    """x tanh(log(1 + exp(x))) (Misra 2019, arXiv:1908.08681)."""
    return nn.Mish()


@ACTIVATIONS.register("gelu", same_as=(nn.GELU, F.gelu), same_with={"approximate": "none"})
def gelu(place: Place) -> nn.Module:
    """x Φ(x) with the normal distribution function itself (Hendrycks & Gimpel 2016, arXiv:1606.08415)."""
    return nn.GELU()


@ACTIVATIONS.register("gelu_tanh", same_as=(nn.GELU, F.gelu), same_with={"approximate": "tanh"})
def gelu_tanh(place: Place) -> nn.Module:
    """The same paper's approximation, x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))."""
    return nn.GELU(approximate="tanh")


class FReLU(nn.Module):
    """max(x, T(x)) of maps (N, C, H, W), where T is a 3×3 depthwise convolution and a batch normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(x, self.norm(self.conv(x)).to(x.dtype))


@ACTIVATIONS.register("frelu", same_as=(FReLU,))
def frelu(place: Place) -> nn.Module:
    """The funnel activation: a pixel or a learned sum of its neighbourhood (Ma et al. 2020, arXiv:2007.11824)."""
    if len(place.shape) != 4:
        there = "a vector" if len(place.shape) == 2 else "a sequence of tokens"
        raise Unsuitable(f"frelu compares a pixel with its neighbours; {there} has none; choose prelu or swish")
    return in_layout(FReLU(place.channels), place)


@ACTIVATIONS.register("relu6", same_as=(nn.ReLU6, F.relu6))
def relu6(place: Place) -> nn.Module:
    """min(max(x, 0), 6) (Howard et al. 2017, arXiv:1704.04861)."""
    return nn.ReLU6()


@ACTIVATIONS.register("hardswish", same_as=(nn.Hardswish, F.hardswish))
def hardswish(place: Place) -> nn.Module:
    """x relu6(x + 3) / 6 (Howard et al. 2019, arXiv:1905.02244)."""
    return nn.Hardswish()


@ACTIVATIONS.register("tanh", same_as=(nn.Tanh, F.tanh, torch.tanh, "tanh"))
def tanh(place: Place) -> nn.Module:
    return nn.Tanh()
