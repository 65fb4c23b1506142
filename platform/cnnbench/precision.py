"""Number format and memory layout that a network runs in."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True)
class Precision:
    """fp32, or bf16 by autocast: parameters stay fp32, and bf16's range needs no loss scaling. On a CPU, depthwise
    convolutions that bf16 would slow down are computed in fp32."""

    dtype: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = False

    def __str__(self) -> str:
        return self.dtype + (" channels-last" if self.channels_last else "")

    @contextlib.contextmanager
    def autocast(self, device: torch.device) -> Iterator[None]:
        """The context that forward passes run in."""
        with contextlib.ExitStack() as contexts:
            if self.dtype == "bf16":
                contexts.enter_context(torch.autocast(device.type, torch.bfloat16))
                if device.type == "cpu":
                    contexts.enter_context(_SlowDepthwiseInFp32())
            yield

    @property
    def layout(self) -> torch.memory_format:
        """The memory format of inputs and convolution weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def place(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network itself, moved to the device and laid out, in place."""
        return network.to(device).to(memory_format=self.layout)


class _SlowDepthwiseInFp32(TorchFunctionMode):
    """Computes depthwise convolutions in fp32, but for 3×3 ones of stride 1, faster in bf16. On CPUs, 5×5 ones
    take twice as long in bf16 and those of stride 2 more than ten times as long, in their backward passes; with 7×7
    kernels it depends on the maps. The result is bf16 again, so that what follows works on half the memory."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.conv2d or not _is_slow_in_bf16(*args, **kwargs):
            return func(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            return F.conv2d(args[0].float(), *args[1:], **kwargs).bfloat16()


def _is_slow_in_bf16(
    input: Tensor, weight: Tensor, bias: Tensor | None = None,
    stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> bool:  # fmt: skip
    is_depthwise = groups == weight.shape[0] > 1
    is_fast = weight.shape[2:] == (3, 3) and {stride, dilation} <= {1, (1, 1)}
    return is_depthwise and not is_fast


FP32 = Precision()
COMBINATIONS = (FP32, Precision("fp32", True), Precision("bf16", False), Precision("bf16", True))
