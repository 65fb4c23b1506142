"""A short probe for the fastest of the four combinations of number format and memory layout."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from cnnbench.data.batches import Batch
from cnnbench.precision import COMBINATIONS, Precision
from cnnbench.training.loss import batch_loss

MOST_STEPS, ENOUGH_S = 40, 1.5  # a fast network takes more steps than asked for, until either is reached
NEAR_TIE = 1.05  # bf16 and channels-last must gain more than this to be worth their rounding and layout


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
    steps: int = 3,
    limit_s: float = 5.0,
    combinations: Sequence[Precision] = COMBINATIONS,
) -> Probe:
    """Trains a few steps in each combination, in turns, and takes the one with the fastest step (other processes can
    only slow a step down, so the fastest says most); in a near tie the earlier in the order fp32, fp32 channels-last,
    bf16, bf16 channels-last.

    input_shape: (C, H, W); steps: timed steps a combination, after one untimed: more if they are over in ENOUGH_S
    seconds, since short ones differ most from each other, and fewer once ``limit_s`` seconds are spent (never fewer
    than one). The global random state stays as it was. Raises the first error if all of them fail.
    """
    seconds: dict[Precision, list[float]] = {}
    errors: dict[Precision, Exception] = {}
    begin = time.monotonic()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        step_of: dict[Precision, Callable[[], None]] = {}
        for combination in combinations:
            try:
                step_of[combination] = _stepper(network_factory(), input_shape, batch_size, device, combination)
                seconds[combination] = [_seconds(step_of[combination], device)]
            except (RuntimeError, NotImplementedError, ValueError) as error:  # no kernel for it, or no memory
                errors[combination] = error
                step_of.pop(combination, None)
                seconds.pop(combination, None)
        for turn in range(max(steps, MOST_STEPS)):
            spent_s = time.monotonic() - begin
            if (turn and spent_s > limit_s) or (turn >= steps and spent_s > ENOUGH_S):
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
            outputs = network(inputs)
        labels = torch.zeros(batch_size, dtype=torch.int64, device=device)
        torch.autograd.backward(batch_loss(outputs, Batch(inputs, labels, batch_size), label_smoothing=0.0))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _seconds(step: Callable[[], None], device: torch.device) -> float:
    begin = time.monotonic()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic() - begin
