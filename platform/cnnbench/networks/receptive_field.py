"""Receptive fields: how much of the image one position of each layer sees, by the arithmetic of Araujo et al. 2019,
"Computing Receptive Fields of Convolutional Neural Networks" (Distill, doi:10.23915/distill.00021).

A window of k positions, d apart, that moves by s makes the field larger by (k − 1)·d times the stride so far, and the
stride s times larger. Where branches meet, the largest counts. Paddings count as image, so a field can be larger than
the image. Flattening before a linear layer, pooling of whole maps and attention see the whole image (windowed
attention too, which overstates it). Not counted: what a gate (squeeze-excite) or the statistics of a normalisation
bring from further away.
"""

import math
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from cnnbench.components.trace import FollowsTraining

Pair = tuple[float, float]


@dataclass(frozen=True)
class Field:
    """size: (height, width) in pixels, inf for the whole image; stride: pixels from one position to the next."""

    size: Pair = (1, 1)
    stride: Pair = (1, 1)

    def through(self, kernel: Pair, stride: Pair) -> "Field":
        """The field behind a window. kernel: (height, width) that it spans, in positions of its input."""
        height, width = (size + (k - 1) * jump for size, k, jump in zip(self.size, kernel, self.stride, strict=True))
        down, right = (jump * step for jump, step in zip(self.stride, stride, strict=True))
        return Field((height, width), (down, right))

    def of_whole_image(self) -> "Field":
        return Field((math.inf, math.inf), self.stride)


_ADAPTIVE = (F.adaptive_avg_pool2d, F.adaptive_max_pool2d)
_ADAPTIVE_MODULES = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_MAX = ("input", "kernel_size", "stride", "padding", "dilation")
_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation")
_WINDOW_ARGUMENTS: dict[Any, tuple[str, ...]] = {
    F.max_pool2d: _MAX,
    torch.max_pool2d: _MAX,
    F.avg_pool2d: ("input", "kernel_size", "stride"),
    F.conv2d: _CONVOLUTION,
    torch.conv2d: _CONVOLUTION,
}
_REDUCTIONS = ("mean", "sum", "amax", "amin", "max", "min", "std", "var", "norm", "logsumexp")
_ATTENTION = ("scaled_dot_product_attention", "shifted_window_attention", "matmul", "bmm", "einsum")


def fields(traced: fx.GraphModule) -> dict[fx.Node, Field]:
    """The field of every value that the image flows into. ``traced`` is what ``components.trace.trace`` returned."""
    found: dict[fx.Node, Field] = {}
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            found[node] = Field()
        elif node.op in ("call_module", "call_function", "call_method"):
            before = [found[source] for source in _sources(node) if source in found]
            if before:
                found[node] = _behind(traced, node, _joined(before))
    return found


def _joined(branches: list[Field]) -> Field:
    height, width = (max(field.size[axis] for field in branches) for axis in (0, 1))
    down, right = (max(field.stride[axis] for field in branches) for axis in (0, 1))
    return Field((height, width), (down, right))


def _sources(node: fx.Node) -> list[fx.Node]:
    """The inputs whose fields count: not a factor of 1×1 that is spread over larger maps, which is a gate."""
    inputs: list[fx.Node] = node.all_input_nodes
    maps = _map_size(node)
    if maps is None or maps == (1, 1):
        return inputs
    return [source for source in inputs if _map_size(source) != (1, 1)] or inputs


def _map_size(node: fx.Node) -> tuple[int, int] | None:
    """(height, width) of a node's maps; None if it holds none."""
    shape = node.meta.get("shape", ())
    if len(shape) != 4:
        return None
    height, width = (shape[dim] for dim in _map_dims(node))
    return height, width


def _map_dims(node: fx.Node) -> tuple[int, ...]:
    return tuple(dim for dim in range(1, len(node.meta["shape"])) if dim != node.meta["channel_dim"])


def _behind(traced: fx.GraphModule, node: fx.Node, before: Field) -> Field:
    module = traced.get_submodule(str(node.target)) if node.op == "call_module" else None
    source = node.all_input_nodes[0]
    if _sees_all(node, module, source):
        return before.of_whole_image()
    if isinstance(module, _ADAPTIVE_MODULES) or node.target in _ADAPTIVE:
        return _behind_adaptive(node, source, before)
    if node.target is operator.getitem:
        return before.through((1, 1), _steps(node, source))
    windows = list(_windows_of(module)) if module is not None else _window_of_call(node)
    # a composite layer reaches as far as the widest window in it
    return _joined([before.through(*window) for window in windows]) if windows else before


def _sees_all(node: fx.Node, module: nn.Module | None, source: fx.Node) -> bool:
    """True for what joins all positions: attention, a flattened linear layer, pooling of whole maps."""
    if module is None or isinstance(module, FollowsTraining):
        function = module.function if module else node.target
        name = getattr(function, "__name__", str(function))
        if name in _REDUCTIONS and _map_size(source) not in (None, (1, 1)):
            return _reduces_maps(node, source)
        return name in _ATTENTION
    if isinstance(module, nn.MultiheadAttention):
        return True
    shape = source.meta.get("shape", ())
    if isinstance(module, nn.Linear):
        return len(shape) == 2
    if _map_size(source) in (None, (1, 1)) or hasattr(module, "kernel_size"):
        return False
    channels: int = shape[source.meta["channel_dim"]]
    return bool(math.prod(node.meta.get("shape", ())) == shape[0] * channels)


def _reduces_maps(node: fx.Node, source: fx.Node) -> bool:
    dims = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    if dims is None:
        return True
    listed: Any = dims if isinstance(dims, list | tuple) else [dims]
    if not all(isinstance(dim, int) for dim in listed):  # torch.max(x, y)
        return False
    return any(dim % 4 in _map_dims(source) for dim in listed)


def _behind_adaptive(node: fx.Node, source: fx.Node, before: Field) -> Field:
    size, out = _map_size(source), _map_size(node)
    if size is None or out is None or (out == (1, 1) and size != (1, 1)):
        return before.of_whole_image()
    height, width = (_widest_bin(*axis) for axis in zip(size, out, strict=True))
    return before.through((height, width), (size[0] / out[0], size[1] / out[1]))


def _widest_bin(size: int, bins: int) -> int:
    """Adaptive pooling's bin i holds the positions from floor(i·size/bins) to ceil((i+1)·size/bins)."""
    return max(-(-(place + 1) * size // bins) - place * size // bins for place in range(bins))


def _steps(node: fx.Node, source: fx.Node) -> Pair:
    """The strides of x[:, :, ::2, ::2]."""
    if _map_size(source) is None or not isinstance(node.args[1], tuple):
        return 1, 1
    dim, step = 0, {}
    for place, index in enumerate(node.args[1]):
        if index is Ellipsis:
            dim = 4 - (len(node.args[1]) - place - 1)
            continue
        if isinstance(index, slice) and isinstance(index.step, int):
            step[dim] = index.step
        dim += 1
    down, right = (step.get(dim, 1) for dim in _map_dims(source))
    return down, right


def _windows_of(module: nn.Module) -> Iterator[tuple[Pair, Pair]]:
    """(kernel, stride) of each window in a layer; none for a pointwise one."""
    for layer in module.modules():
        if hasattr(layer, "kernel_size"):
            yield _window(vars(layer))


def _window_of_call(node: fx.Node) -> list[tuple[Pair, Pair]]:
    names = _WINDOW_ARGUMENTS.get(node.target, ())
    given: dict[str, Any] = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
    if "weight" in names:
        given = {"stride": 1, **given, "kernel_size": given["weight"].meta["shape"][2:]}
    return [_window(given)] if names else []


def _window(given: Mapping[str, Any]) -> tuple[Pair, Pair]:
    kernel = _pair(given["kernel_size"])
    stride = _pair(kernel if given.get("stride") in (None, [], ()) else given["stride"])
    dilation = _pair(given.get("dilation", 1))
    height, width = ((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    return (height, width), stride


def _pair(value: Any) -> Pair:
    return (value, value) if isinstance(value, int | float) else (value[0], value[1])
