"""An exponential moving average of a network's weights (Polyak & Juditsky 1992; decay and warm-up as in TensorFlow's
ExponentialMovingAverage)."""

import copy

import torch
from torch import nn


class WeightAverage:
    """A second network whose weights trail the trained one's: average ← d·average + (1-d)·weights after each step.

    d is ``decay``, but (1+t)/(10+t) at step t while that is less, so that the initial weights fade in a few steps.
    Floating-point buffers, which are batch normalisation's running statistics, are averaged in the same way, since
    they belong to the weights that they were measured with; other buffers are copied.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """After optimizer step ``step``, counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages, values = [], []
        for average, value in zip(_tensors(self.network), _tensors(network), strict=True):
            if value.is_floating_point():
                averages.append(average)
                values.append(value)
            else:
                average.copy_(value)
        torch._foreach_lerp_(averages, values, 1.0 - decay)  # one kernel a device, where a loop has one a tensor


def _tensors(network: nn.Module) -> list[torch.Tensor]:
    return [*(parameter.detach() for parameter in network.parameters()), *network.buffers()]
