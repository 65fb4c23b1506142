"""The sites of a traced network: where a component of each kind stands, or could be put in."""

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from cnnbench.components import dropout
from cnnbench.components.kinds import COMPONENTS, KINDS, ChannelsLast, Place, Window
from cnnbench.components.trace import inside

# Beyond the values that a study can choose. No sigmoid: in a convolutional network of today it is a gate.
_FURTHER: dict[str, tuple[Any, ...]] = {
    "activation": (
        *(nn.Hardtanh, nn.SELU, nn.CELU, nn.RReLU, nn.Softplus, nn.Softsign),
        *(F.hardtanh, F.selu, F.celu, F.rrelu, F.softplus, F.prelu, torch.selu, torch.celu, torch.prelu),
    )
}
_LAYERS = (nn.Conv2d, nn.Linear)
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.RMSNorm)
_SIGMOIDS = (nn.Sigmoid, nn.Hardsigmoid, torch.sigmoid, F.sigmoid, F.hardsigmoid, "sigmoid")
_PRODUCTS = (operator.mul, torch.mul, "mul")
_MAX_ARGUMENTS = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
_AVERAGE_ARGUMENTS = ("kernel_size", "stride", "padding", "ceil_mode")


@dataclass(frozen=True)
class Site:
    """One place in the network. value: the registered name (or the number) of what stands there, None for something
    else. insert: nothing stands there; a normalisation would go behind the node, a dropout before it."""

    kind: str
    name: str
    node: fx.Node
    place: Place
    value: str | float | None
    insert: bool = False


def find(traced: fx.GraphModule) -> dict[str, tuple[Site, ...]]:
    """Kind → its sites, in the order of computation. ``traced`` is what ``trace`` returned."""
    found: dict[str, list[Site]] = {kind: [] for kind in KINDS}
    for node in traced.graph.nodes:
        site = _site(traced, node)
        if site is not None and not _makes_gate(traced, node):
            found[site.kind].append(site)
    layers = [node for node in traced.graph.nodes if isinstance(_module(traced, node), _LAYERS)]
    normalizes = any(isinstance(_module(traced, node), _NORMS) for node in traced.graph.nodes)
    if not found["normalization"] and not normalizes:
        # the last layer makes the logits, which are not normalised
        convolutions = [node for node in layers[:-1] if isinstance(_module(traced, node), nn.Conv2d)]
        behind = [node for node in convolutions if not _makes_gate(traced, node)]
        found["normalization"] = [_insertion("normalization", node, node.meta["shape"], "none") for node in behind]
    if not found["dropout"] and layers:
        found["dropout"] = [_insertion("dropout", layers[-1], layers[-1].all_input_nodes[0].meta["shape"], None)]
    return {kind: tuple(sites) for kind, sites in found.items()}


def _insertion(kind: str, node: fx.Node, shape: tuple[int, ...], value: str | float | None) -> Site:
    return Site(kind, str(node.target), node, Place(shape), value, insert=True)


def _module(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    if node.op != "call_module":
        return None
    module = traced.get_submodule(str(node.target))
    return module.inner if isinstance(module, ChannelsLast) else module


def _is(traced: fx.GraphModule, node: fx.Node, things: tuple[Any, ...]) -> bool:
    """True if ``node`` calls one of ``things``: module classes, functions and names of methods."""
    module = _module(traced, node)
    if module is not None:
        return isinstance(module, tuple(thing for thing in things if isinstance(thing, type)))
    return node.op in ("call_function", "call_method") and node.target in things


def _site(traced: fx.GraphModule, node: fx.Node) -> Site | None:
    inputs = node.all_input_nodes
    if not inputs or "shape" not in inputs[0].meta or "shape" not in node.meta:
        return None
    before, after = inputs[0].meta["shape"], node.meta["shape"]
    channel_dim = inputs[0].meta["channel_dim"]
    module = _module(traced, node)
    name = str(node.target) if module is not None else ".".join(filter(None, [inside(node), node.name]))
    if isinstance(module, dropout.MODULES):
        return Site("dropout", name, node, Place(before, channel_dim), float(module.p))
    for kind, registry in COMPONENTS.items():
        known = tuple(thing for value in registry for thing in registry[value].facts["same_as"])
        if not _is(traced, node, known + _FURTHER.get(kind, ())):
            continue
        window = None
        if kind == "activation" and _is_hard_sigmoid(node):
            continue
        if kind == "window_pooling":
            window = _window(node, module)
        if kind == "global_pooling" and not _pools_whole_map(node, before, after, channel_dim):
            continue
        if kind == "normalization":
            if len(before) != 4 or isinstance(module, nn.Identity):
                continue
            channel_dim = _normalized_dim(module, before, channel_dim)
        place = Place(before, channel_dim, window)
        return Site(kind, name, node, place, _value(kind, node, module, place.channels))
    return None


def _value(kind: str, node: fx.Node, module: nn.Module | None, channels: int) -> str | None:
    thing = node.target if module is None else type(module)
    registry = COMPONENTS[kind]
    for value in registry:
        same = registry[value].facts["same_as"]
        wanted = registry[value].facts.get("same_with", {})
        if thing not in same and not (kind == "normalization" and isinstance(module, same)):
            continue
        given = {name: _argument(node, module, name, same[0]) for name in wanted}
        if given == {name: wish(channels) if callable(wish) else wish for name, wish in wanted.items()}:
            return value
    return None


def _argument(node: fx.Node, module: nn.Module | None, name: str, like: type[nn.Module]) -> Any:
    """An argument of a component that stands there: of a function it is the one behind the input, or named, or else
    what the module of that name, ``like``, has by default."""
    if module is not None:
        return getattr(module, name)
    if name in node.kwargs:
        return node.kwargs[name]
    return node.args[1] if len(node.args) > 1 else getattr(like(), name)


def _normalized_dim(module: nn.Module | None, shape: tuple[int, ...], channel_dim: int) -> int:
    """ConvNeXt normalises (N, H, W, C) in its blocks, and (N, C, H, W) between them."""
    if type(module) is nn.LayerNorm and tuple(module.normalized_shape) == shape[-1:]:
        return 3
    return channel_dim


def _window(node: fx.Node, module: nn.Module | None) -> Window:
    names = _AVERAGE_ARGUMENTS if node.target is F.avg_pool2d else _MAX_ARGUMENTS
    given: dict[str, Any]
    own = getattr(module, "window", None)
    if isinstance(own, Window):  # a pooling of our own
        return own
    if module is not None:
        given = {name: getattr(module, name) for name in names if hasattr(module, name)}
    else:
        bound = dict(zip(names, node.args[1:], strict=False)) | dict(node.kwargs)
        given = {name: bound[name] for name in names if bound.get(name) is not None}
    given.setdefault("stride", given["kernel_size"])
    window: dict[str, Any] = {name: tuple(size) if isinstance(size, list) else size for name, size in given.items()}
    return Window(**window)


def _pools_whole_map(node: fx.Node, before: tuple[int, ...], after: tuple[int, ...], channel_dim: int) -> bool:
    """True if a map larger than 1×1 (else there is nothing to pool) becomes one number a channel."""
    if len(before) != 4 or channel_dim != 1 or before[2:] == (1, 1):
        return False
    return after in (before[:2], (*before[:2], 1, 1))


def _is_hard_sigmoid(node: fx.Node) -> bool:
    """relu6(x + 3), which MobileNetV3 and its like divide by 6 for a gate."""
    before = node.all_input_nodes[0]
    added = before.target in (operator.add, torch.add, "add") and any(isinstance(a, int | float) for a in before.args)
    return node.target is F.relu6 and added


def _makes_gate(traced: fx.GraphModule, node: fx.Node) -> bool:
    """True if all that becomes of ``node``'s value is a sigmoid, and then a factor: a gate, as in squeeze-excite."""
    sigmoid = False
    while len(node.users) == 1:
        node = next(iter(node.users))
        sigmoid = sigmoid or _is(traced, node, _SIGMOIDS)
        if sigmoid and node.target in _PRODUCTS:
            return True
    return False
