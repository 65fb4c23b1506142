"""Number format and memory layout of a training, and a short probe for the fastest of the four combinations."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

NEAR_TIE = 1.05  # bf16 and channels-last must gain more than this to be worth their rounding and layout


@dataclass(frozen=True)
class Precision:
    """fp32, or bf16 by autocast: parameters stay fp32, and bf16's range needs no loss scaling. Depthwise convolutions
    stay in fp32 on a CPU, where bf16 slows them down."""

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
                    contexts.enter_context(_DepthwiseInFp32())
            yield

    @property
    def layout(self) -> torch.memory_format:
        """The memory format of inputs and convolution weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def place(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network itself, moved to the device and laid out, in place."""
        return network.to(device).to(memory_format=self.layout)


class _DepthwiseInFp32(TorchFunctionMode):
    """Keeps depthwise convolutions out of autocast: on CPUs their bf16 backward pass takes several times fp32's."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.conv2d or not _is_depthwise(*args, **kwargs):
            return func(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            return F.conv2d(args[0].float(), *args[1:], **kwargs)


def _is_depthwise(
    input: Tensor, weight: Tensor, bias: Tensor | None = None,
    stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> bool:  # fmt: skip
    return groups == weight.shape[0] > 1


FP32 = Precision()
COMBINATIONS = (FP32, Precision("fp32", True), Precision("bf16", False), Precision("bf16", True))


@dataclass(frozen=True)
class Probe:
    """What the probe chose and measured. Images per second of training; a combination that failed has its reason."""

    precision: Precision
    images_per_s: Mapping[Precision, float]
    failures: Mapping[Precision, str]


def probe(
    network_factory: Callable[[], nn.Module],
    input_shape: tuple[int, int, int],
    batch_size: int,
    device: torch.device,
    steps: int = 5,
    limit_s: float = 10.0,
) -> Probe:
    """Trains a few steps in each combination, in turns, and takes the one with the fastest step (other processes can
    only slow a step down, so the fastest says most); in a near tie the earlier in the order fp32, fp32 channels-last,
    bf16, bf16 channels-last.

    input_shape: (C, H, W); steps: timed steps a combination, after one untimed, fewer once ``limit_s`` seconds are
    spent (never fewer than one). The global random state stays as it was. Raises the first error if all four fail.
    """
    seconds: dict[Precision, list[float]] = {}
    errors: dict[Precision, Exception] = {}
    begin = time.monotonic()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        step_of: dict[Precision, Callable[[], None]] = {}
        for combination in COMBINATIONS:
            try:
                step_of[combination] = _stepper(network_factory(), input_shape, batch_size, device, combination)
                seconds[combination] = [_seconds(step_of[combination], device)]
            except (RuntimeError, NotImplementedError, ValueError) as error:  # no kernel for it, or no memory
                errors[combination] = error
                step_of.pop(combination, None)
                seconds.pop(combination, None)
        for turn in range(steps):
            if turn and time.monotonic() - begin > limit_s:
                break
            for combination, step in step_of.items():
                seconds[combination].append(_seconds(step, device))
    if not seconds:
        raise next(iter(errors.values()))
    rates = {combination: batch_size / min(times[1:]) for combination, times in seconds.items()}
    chosen = next(combination for combination, rate in rates.items() if rate * NEAR_TIE >= max(rates.values()))
    return Probe(chosen, rates, {combination: str(error).split("\n")[0] for combination, error in errors.items()})


def _stepper(
    network: nn.Module, shape: tuple[int, int, int], batch_size: int, device: torch.device, precision: Precision
) -> Callable[[], None]:
    network = precision.place(network, device).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, fused=True)
    inputs = torch.randn(batch_size, *shape, device=device).contiguous(memory_format=precision.layout)

    def step() -> None:
        with precision.autocast(device):
            logits = network(inputs)
        labels = torch.zeros(batch_size, dtype=torch.int64, device=device)
        torch.autograd.backward(F.cross_entropy(logits.float(), labels))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _seconds(step: Callable[[], None], device: torch.device) -> float:
    begin = time.monotonic()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic() - begin
