"""The sites of a traced network: where a component of each kind stands, or could be put in."""

import operator
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F
from torchvision.ops import DropBlock2d as TorchvisionDropBlock2d
from torchvision.ops import SqueezeExcitation

from cnnbench.components import dropout, insertions
from cnnbench.components.branches import find_branches
from cnnbench.components.convolution import as_it_stands, is_depthwise, overlaps, own_values
from cnnbench.components.drop_block import DropBlock2d
from cnnbench.components.graph import NORMS, Site, calls, is_map, makes_gate, module_of, name_of
from cnnbench.components.kinds import COMPONENTS, KINDS, Place, Window

# Beyond the values that a study can choose. No sigmoid: in a convolutional network of today it is a gate.
_FURTHER: dict[str, tuple[Any, ...]] = {
    "activation": (
        *(nn.Hardtanh, nn.SELU, nn.CELU, nn.RReLU, nn.Softplus, nn.Softsign),
        *(F.hardtanh, F.selu, F.celu, F.rrelu, F.softplus, F.prelu, torch.selu, torch.celu, torch.prelu),
    ),
    "normalization": (nn.LocalResponseNorm,),
    "attention": (SqueezeExcitation,),
}
# Kinds whose value is a rate, p, of the module that stands there.
_RATES: dict[str, tuple[type[nn.Module], ...]] = {
    **dropout.MODULES,
    "drop_block": (DropBlock2d, TorchvisionDropBlock2d),
}
_LAYERS = (nn.Conv2d, nn.Linear)
_MAX_ARGUMENTS = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
_AVERAGE_ARGUMENTS = ("kernel_size", "stride", "padding", "ceil_mode")


def find(traced: fx.GraphModule) -> dict[str, tuple[Site, ...]]:
    """Kind → its sites, in the order of computation. ``traced`` is what ``trace`` returned."""
    found: dict[str, list[Site]] = {kind: [] for kind in KINDS}
    for node in traced.graph.nodes:
        site = _site(traced, node)
        if site is not None and not makes_gate(traced, node):
            found[site.kind].append(site)
    found["convolution"] = _convolutions(traced)
    found["initialization"] = _initialized(traced)
    layers = [node for node in traced.graph.nodes if isinstance(module_of(traced, node), _LAYERS)]
    branches = find_branches(traced)
    activations = {site.node for site in found["activation"]}
    normalizes = any(isinstance(module_of(traced, node), NORMS) for node in traced.graph.nodes)
    if not normalizes:
        found["normalization"] = found["normalization"] or insertions.behind_convolutions(traced, layers)
    found["dropout"] = found["dropout"] or insertions.before_last_layer(layers)
    for kind, value in {"attention": "none", "dropout2d": None}.items():
        found[kind] = found[kind] or insertions.on_features(kind, traced, layers, branches, activations, value)
    found["drop_block"] = found["drop_block"] or insertions.drop_blocks(traced, layers, branches, activations)
    found["stochastic_depth"] = insertions.stochastic_depths(traced, branches)
    return {kind: tuple(sites) for kind, sites in found.items()}


def _convolutions(traced: fx.GraphModule) -> list[Site]:
    """Those whose windows overlap, but the first and gates'."""
    sites = []
    nodes = [node for node in traced.graph.nodes if type(module_of(traced, node)) is nn.Conv2d]
    for node in nodes[1:]:
        source = node.all_input_nodes[0]
        module = module_of(traced, node)
        assert isinstance(module, nn.Conv2d), "chosen above"
        conv = as_it_stands(module)
        if not is_map(source) or not overlaps(conv) or makes_gate(traced, node):
            continue
        behind = [module_of(traced, user) for user in node.users]
        separable = is_depthwise(conv) and len(behind) == 1 and _is_pointwise(behind[0])
        values = ("depthwise_separable",) * separable + own_values(conv)
        place = Place(source.meta["shape"], convolution=conv)
        first = next(iter(values), None)
        sites.append(Site("convolution", name_of(traced, node), node, place, first, also=values))
    return sites


def _is_pointwise(module: nn.Module | None) -> bool:
    return type(module) is nn.Conv2d and module.kernel_size == (1, 1) and module.groups == 1


def _initialized(traced: fx.GraphModule) -> list[Site]:
    """The architecture's own layers, in leaves too, each once however often it is called."""
    layers: dict[nn.Module, Site] = {}
    for node in traced.graph.nodes:
        module = module_of(traced, node)
        if module is None or type(module).__module__.startswith("cnnbench.components."):
            continue
        for name, layer in module.named_modules(prefix=str(node.target)):
            if isinstance(layer, _LAYERS):
                layers.setdefault(layer, Site("initialization", name, node, Place(()), None))
    return list(layers.values())


def _site(traced: fx.GraphModule, node: fx.Node) -> Site | None:
    inputs = node.all_input_nodes
    if not inputs or "shape" not in inputs[0].meta or "shape" not in node.meta:
        return None
    before, after = inputs[0].meta["shape"], node.meta["shape"]
    channel_dim = inputs[0].meta["channel_dim"]
    module = module_of(traced, node)
    name = name_of(traced, node)
    for kind, classes in _RATES.items():
        if isinstance(module, classes):
            rate = float(getattr(module, "p"))  # noqa: B009 (nn.Module declares its attributes to be tensors)
            return Site(kind, name, node, Place(before, channel_dim), rate)
    for kind, registry in COMPONENTS.items():
        known = tuple(thing for value in registry for thing in registry[value].facts["same_as"])
        # an architecture's own module may say in its class which kind it is of
        says = getattr(type(module), "component", None) == kind
        if not says and not calls(traced, node, known + _FURTHER.get(kind, ())):
            continue
        window = None
        if kind == "activation" and _is_hard_sigmoid(node):
            continue
        if kind == "window_pooling":
            window = _window(node, module)
            if _is_one_pixel(window):
                continue
        if kind == "global_pooling" and not _pools_whole_map(module, before, after, channel_dim):
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


def _is_one_pixel(window: Window) -> bool:
    """True if it pools nothing: at most it leaves pixels out."""
    return window.kernel_size in (1, (1, 1))


def _pools_whole_map(
    module: nn.Module | None, before: tuple[int, ...], after: tuple[int, ...], channel_dim: int
) -> bool:
    """True if a map larger than 1×1 (else there is nothing to pool) becomes one number a channel, or the cells of a
    grid that a swap has put in."""
    if len(before) != 4 or channel_dim != 1 or before[2:] == (1, 1):
        return False
    return hasattr(module, "cells") or after in (before[:2], (*before[:2], 1, 1))


def _is_hard_sigmoid(node: fx.Node) -> bool:
    """relu6(x + 3), which MobileNetV3 and its like divide by 6 for a gate."""
    before = node.all_input_nodes[0]
    added = before.target in (operator.add, torch.add, "add") and any(isinstance(a, int | float) for a in before.args)
    return node.target is F.relu6 and added
