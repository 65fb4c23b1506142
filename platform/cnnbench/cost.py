"""What a network costs before it is trained: parameters, multiply-accumulates, size."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cnnbench.components.trace import meta_copy


@dataclass(frozen=True)
class NetworkCost:
    """As in the ledger. macs: multiply-accumulates of one image's forward pass; flops: 2 × macs; size_mb: parameters
    and buffers in 10^6 bytes; input: (channels, height, width) that macs were counted at."""

    params: int
    trainable_params: int
    macs: int
    flops: int
    size_mb: float
    input: tuple[int, int, int]


def measure(network: nn.Module, input: tuple[int, int, int]) -> NetworkCost:
    """Counts ``network`` at one image of (channels, height, width), in evaluation mode; the network stays as it is.

    Counted: convolutions, linear layers and other matrix products, attention. Not counted: biases, normalisation,
    activations, pooling, sums; in a convolutional network they are a few per cent. The count runs on a copy on the
    meta device, so it takes milliseconds and no memory, whatever the network's size.
    """
    parameters = list(network.parameters())
    tensors = [*parameters, *network.buffers()]
    flops = _flops(network, input)
    return NetworkCost(
        params=sum(parameter.numel() for parameter in parameters),
        trainable_params=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        macs=flops // 2,
        flops=flops,
        size_mb=sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6,
        input=input,
    )


def _flops(network: nn.Module, input: tuple[int, int, int]) -> int:
    with counting() as counter:
        meta_copy(network)(torch.empty((1, *input), device="meta"))
    return int(counter.get_total_flops())


@contextmanager
def counting() -> Iterator[FlopCounterMode]:
    """Counts the FLOPs of what runs inside, without gradients."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # its fused kernel is not counted
    try:
        # under inference_mode, which a caller may be in, nothing is counted
        with torch.inference_mode(False), torch.no_grad(), FlopCounterMode(display=False) as counter:
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
