"""Time of a forward and backward pass of each activation, pooling, normalisation and convolution against the plain one.

The plain ones are what networks have by themselves: ReLU, max pooling (2×2 and 3×3 windows, stride 2), global average
pooling, batch normalisation, a 3×3 convolution. Each component runs alone, in training mode, on a batch of feature
maps, its input's gradient and its own parameters' included, in fp32 and in the fastest number format and memory layout
of most networks here, bf16 channels-last. They take turns, round by round, so that a busy machine slows all alike; the
first round is not counted, and a kind that takes too long gets fewer. A component's ratio is the median over the rounds
of its time by the plain one's in the same round.

Run: make bench-components    (two minutes on two idle cores; figures in build/bench/components.json)
One kind alone: python benchmarks/components.py --kind convolution
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait don't take the cores of other processes

import torch
import torchvision
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "platform"))

from cnnbench.components import COMPONENTS  # noqa: E402
from cnnbench.components.kinds import Convolution, Place, Window  # noqa: E402
from cnnbench.precision import Precision  # noqa: E402

SHAPES = {"cpu": (64, 64, 32, 32), "cuda": (512, 128, 56, 56)}  # (N, C, H, W): maps of 17 MB and 822 MB in fp32
PRECISIONS = (Precision(), Precision("bf16", channels_last=True))
WINDOWS = {"2×2": Window(kernel_size=2, stride=2), "3×3": Window(kernel_size=3, stride=2, padding=1)}
PLAIN = {"activation": "relu", "window_pooling": "max", "global_pooling": "average", "normalization": "batch"}
PLAIN |= {"convolution": "kernel_3"}
LIMIT_SECONDS = 15.0  # a kind and precision; once they are over, no further round begins
LIMIT = 3.0  # what costs more times the plain one than this, docs/benchmarks.md names

Pass = Callable[[], None]


def training_pass(module: nn.Module, shape: tuple[int, ...], precision: Precision, device: torch.device) -> Pass:
    """A function that runs ``module`` forward and backward once and waits for the device."""
    module = precision.place(module, device).train()
    dtype = torch.bfloat16 if precision.dtype == "bf16" else torch.float32
    inputs = torch.randn(shape, device=device, dtype=dtype).contiguous(memory_format=precision.layout).requires_grad_()
    with torch.no_grad(), precision.autocast(device):
        gradient = torch.randn_like(module(inputs))

    def once() -> None:
        with precision.autocast(device):
            outputs: Tensor = module(inputs)
        outputs.backward(gradient)
        inputs.grad = None
        for parameter in module.parameters():
            parameter.grad = None
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return once


def passes_of(kind: str, window: Window | None, precision: Precision, device: torch.device) -> dict[str, Pass]:
    """Value → its pass, for every value of ``kind`` that does something."""
    shape = SHAPES[device.type]
    torch.manual_seed(0)
    channels = shape[1]
    old = Convolution(channels, channels, (3, 3), (1, 1), (1, 1), bias=False) if kind == "convolution" else None
    place = Place((1, *shape[1:]), 1, window, old)
    modules = {value: COMPONENTS[kind][value].thing(place) for value in COMPONENTS[kind]}
    return {
        value: training_pass(module, shape, precision, device)
        for value, module in modules.items()
        if value not in ("none", "flatten")  # nothing to time
    }


def measure(passes: dict[str, Pass], plain: str, rounds: int) -> dict[str, dict[str, float]]:
    """Value → median milliseconds, and the median, least and largest ratio to ``plain``, over the rounds in turns."""
    seconds: dict[str, list[float]] = {value: [] for value in passes}
    start = time.monotonic()
    for turn in range(rounds + 1):
        if turn > 2 and time.monotonic() - start > LIMIT_SECONDS:
            break
        for value, once in passes.items():
            begin = time.perf_counter()
            once()
            if turn:
                seconds[value].append(time.perf_counter() - begin)
    rows = {}
    for value, times in seconds.items():
        ratios = [own / other for own, other in zip(times, seconds[plain], strict=True)]
        rows[value] = {
            "ms": statistics.median(times) * 1000,
            "ratio": statistics.median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
            "rounds": len(ratios),
        }
    return rows


def rounds_of(figures: dict[str, Any]) -> Iterator[int]:
    """The rounds behind every ratio."""
    for name, inner in figures.items():
        if name == "rounds":
            yield inner
        elif isinstance(inner, dict):
            yield from rounds_of(inner)


def machine(device: torch.device) -> str:
    """For example "Intel Xeon, 2 CPUs, 2 threads"."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    gpu = f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    return f"{model}, {os.cpu_count()} CPUs, {torch.get_num_threads()} threads{gpu}"


def run(device: torch.device, rounds: int, kinds: Collection[str]) -> dict[str, Any]:
    """Measures and prints every component of ``kinds`` on ``device``; returns kind → precision → value → figures."""
    print(f"\n{machine(device)}; torch {torch.__version__}; maps {SHAPES[device.type]}; {rounds} rounds")
    print(f"{'':34}" + "".join(f"{precision!s:>24}" for precision in PRECISIONS))
    print(f"{'component':34}" + f"{'ms':>12}{'ratio':>12}" * len(PRECISIONS))
    figures: dict[str, Any] = {}
    for kind in kinds:
        plain = PLAIN[kind]
        for size, window in WINDOWS.items() if kind == "window_pooling" else [("", None)]:
            name = f"{kind} {size}".strip()
            figures[name] = {}
            for precision in PRECISIONS:
                figures[name][str(precision)] = measure(passes_of(kind, window, precision, device), plain, rounds)
            for value in figures[name][str(PRECISIONS[0])]:
                rows = [figures[name][str(precision)][value] for precision in PRECISIONS]
                cells = "".join(f"{row['ms']:12.2f}{row['ratio']:12.2f}" for row in rows)
                slow = "  *" if max(row["ratio"] for row in rows) > LIMIT else ""
                print(f"{name + '=' + value:34}{cells}{slow}", flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--kind", nargs="+", choices=PLAIN, default=list(PLAIN), help="these kinds alone")
    arguments = parser.parse_args()
    devices = [torch.device("cpu")] + [torch.device("cuda")] * torch.cuda.is_available()
    figures = {device.type: run(device, arguments.rounds, arguments.kind) for device in devices}
    print(f"\n*: more than {LIMIT:g} times the plain one ({', '.join(PLAIN.values())})")
    result = {
        "unit": "milliseconds of a forward and backward pass; ratio: to the plain one of its kind",
        "plain": PLAIN,
        "shapes": {device.type: SHAPES[device.type] for device in devices},
        "figures": figures,
        "runs": min(rounds_of(figures)),
        "machine": machine(devices[-1]),
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__},
    }
    path = ROOT / "build" / "bench" / "components.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(path)


if __name__ == "__main__":
    main()
