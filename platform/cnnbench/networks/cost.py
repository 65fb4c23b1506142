"""What a network costs: parameters, multiply-accumulates and size, which are counted without running it; latency,
throughput and memory, which are measured on a device."""

import statistics
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
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


# ---------------------------------------------------------------- measured

WARM_UP_RUNS = 3
FEWEST_RUNS = 5
MOST_RUNS = 500
LARGEST_BATCH = 64


@dataclass(frozen=True)
class NetworkSpeed:
    """A forward pass as measured, in milliseconds and images per second. latency: of one image, over ``latency_runs``
    runs; throughput: of batches of ``throughput_batch`` images; peak_memory_mb: of one image, in 10^6 bytes; threads:
    of the CPU."""

    latency_ms_median: float
    latency_ms_p95: float
    latency_runs: int
    throughput: float
    throughput_batch: int
    peak_memory_mb: float
    device: str
    threads: int


def speed(
    network: nn.Module,
    input: tuple[int, int, int],
    device: torch.device,
    *,
    layout: torch.memory_format = torch.contiguous_format,
    seconds: float = 1.0,
) -> NetworkSpeed:
    """Runs ``network``, which lies on ``device``, on images of noise of (channels, height, width), in evaluation mode
    and within about ``seconds`` (longer where five single images take longer). Its mode is put back.

    Latency and throughput are what this process gets: other work on the machine slows them. The batch doubles from 1
    up to 64 while a batch takes less than an eighth of the time. Memory is that of weights, buffers, images and
    activations at their largest: on CUDA as its allocator counts, with the libraries' work space; elsewhere the sum of
    the tensors alive, without it. Number format: that of the caller's autocast, else the weights'.
    """
    was_training = network.training
    network.eval()
    noise = torch.rand((LARGEST_BATCH, *input), generator=torch.Generator().manual_seed(0))
    images = noise.to(device).contiguous(memory_format=layout)
    try:
        with torch.inference_mode():
            for _ in range(WARM_UP_RUNS):
                network(images[:1])
            alone = _times(network, images[:1], seconds * 0.4)
            batch, took = 1, statistics.median(alone)
            while batch < LARGEST_BATCH and took < seconds / 8:
                batch *= 2
                took = _seconds(network, images[:batch])
            together = _times(network, images[:batch], seconds * 0.4, fewest=1)
        memory = _peak_memory(network, images[:1])
    finally:
        network.train(was_training)
    return NetworkSpeed(
        latency_ms_median=1e3 * statistics.median(alone),
        latency_ms_p95=1e3 * statistics.quantiles(alone, n=20, method="inclusive")[-1],
        latency_runs=len(alone),
        throughput=batch / statistics.median(together),
        throughput_batch=batch,
        peak_memory_mb=memory / 1e6,
        device=device.type,
        threads=torch.get_num_threads(),
    )


def _times(network: nn.Module, images: Tensor, seconds: float, fewest: int = FEWEST_RUNS) -> list[float]:
    """Seconds of each run, until they add up to ``seconds``."""
    times: list[float] = []
    while len(times) < fewest or (sum(times) < seconds and len(times) < MOST_RUNS):
        times.append(_seconds(network, images))
    return times


def _seconds(network: nn.Module, images: Tensor) -> float:
    begin = time.perf_counter()
    network(images)
    if images.device.type == "cuda":
        torch.cuda.synchronize(images.device)
    return time.perf_counter() - begin


def _peak_memory(network: nn.Module, images: Tensor) -> int:
    """Bytes, as ``speed`` says."""
    own = sum(tensor.numel() * tensor.element_size() for tensor in [*network.parameters(), *network.buffers(), images])
    with torch.no_grad():
        if images.device.type != "cuda":
            live = _LiveBytes()
            with live:
                network(images)
            return own + live.most
        torch.cuda.synchronize(images.device)
        before = torch.cuda.memory_allocated(images.device)
        torch.cuda.reset_peak_memory_stats(images.device)
        network(images)
        torch.cuda.synchronize(images.device)
        return own + int(torch.cuda.max_memory_allocated(images.device)) - before


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages that operations make, and takes off those that are freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {id(tensor.untyped_storage()) for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if id(storage) not in given and storage not in self._known:  # else a view, or worked in place
                    self._add(storage)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        size = storage.nbytes()
        self._known.add(storage)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.now -= size
