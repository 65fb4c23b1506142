"""The first layers of torchvision's networks, made over for small or grey images."""

from typing import Any

from torch import nn


def replace_conv(network: nn.Module, name: str, **changes: Any) -> nn.Conv2d:
    """Puts a new convolution in place of ``network``'s convolution ``name``, with its options but for ``changes``
    (``in_channels``, ``kernel_size``, ``stride``, ``padding``, …), initialised as PyTorch does, and returns it."""
    conv = _conv(network, name)
    options: dict[str, Any] = {
        "in_channels": conv.in_channels,
        "out_channels": conv.out_channels,
        "kernel_size": conv.kernel_size,
        "stride": conv.stride,
        "padding": conv.padding,
        "bias": conv.bias is not None,
    }
    new = nn.Conv2d(**(options | changes))
    network.set_submodule(name, new)
    return new


def keep_resolution(network: nn.Module, *names: str) -> None:
    """Gives the convolutions ``names`` stride 1: their maps keep their size, their weights are as they were."""
    for name in names:
        _conv(network, name).stride = (1, 1)


def _conv(network: nn.Module, name: str) -> nn.Conv2d:
    conv = network.get_submodule(name)
    assert isinstance(conv, nn.Conv2d), f"{name} is a {type(conv).__name__}, not a convolution"
    return conv
