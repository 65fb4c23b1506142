"""Putting one component at one site of a traced network."""

import copy
from collections.abc import Callable

import torch
from torch import fx, nn
from torchvision.ops import StochasticDepth

from cnnbench.components.drop_block import DropBlock2d
from cnnbench.components.graph import Site
from cnnbench.components.head import grow_linear
from cnnbench.components.kinds import COMPONENTS, INITIALIZATIONS, ChannelsLast, Unsuitable
from cnnbench.components.trace import free_name, inside, meta_copy, present, put

Value = str | float

_NEW: dict[str, Callable[[float], nn.Module]] = {
    "dropout": nn.Dropout,
    "dropout2d": nn.Dropout2d,
    "drop_block": DropBlock2d,
    "stochastic_depth": lambda rate: StochasticDepth(rate, "row"),
}


def put_in(traced: fx.GraphModule, site: Site, value: Value) -> str:
    """Puts ``value`` at ``site``; returns the name it has there. Raises Unsuitable, and then has changed nothing."""
    if site.kind == "initialization":
        return _initialize(traced, site, str(value))
    if site.has(value):
        return _own_copy(traced, site)
    if site.insert:
        return _insert(traced, site, _new(traced, site, value))
    if isinstance(value, str):
        return _replace(traced, site, _new(traced, site, value))
    if site.kind in ("drop_block", "stochastic_depth"):
        module = _new(traced, site, value)  # ours, for torchvision's may refuse the map, or drop whole batches
    else:
        module = copy.deepcopy(_module(traced, site.node))
        setattr(module, "p", float(value))  # noqa: B010 (nn.Module declares its attributes to be tensors)
    return str(put(traced, site.node, module, _name(traced, site)).target)


def _new(traced: fx.GraphModule, site: Site, value: Value) -> nn.Module:
    """A new component for ``site``, on the device of the network's parameters."""
    if isinstance(value, str):
        module = COMPONENTS[site.kind][value].thing(site.place)
    else:
        module = _NEW[site.kind](value * site.share)
    first = next(traced.parameters(), None)
    return module if first is None else module.to(first.device)


def _initialize(traced: fx.GraphModule, site: Site, value: str) -> str:
    """Sets the weights of the layer, or of those that a convolution's swap made of it. The logits' layer is the last
    one; an auxiliary head's has as many outputs."""
    modules = [_module(traced, node) for node in traced.graph.nodes if node.op == "call_module"]
    last = next((module for module in reversed(modules) if isinstance(module, nn.Conv2d | nn.Linear)), None)
    logits = last.out_features if isinstance(last, nn.Linear) else None
    for layer in traced.get_submodule(site.name).modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            is_head = isinstance(layer, nn.Linear) and layer.out_features == logits
            INITIALIZATIONS[value].thing(layer, layer is last or is_head)
    return site.name


def _module(traced: fx.GraphModule, node: fx.Node) -> nn.Module:
    return traced.get_submodule(str(node.target))


def _is_shared(traced: fx.GraphModule, node: fx.Node) -> bool:
    calls = [other for other in traced.graph.nodes if other.op == "call_module" and other.target == node.target]
    return len(calls) > 1


def _name(traced: fx.GraphModule, site: Site) -> str:
    """The old module's name where it had one site; else a new one beside it."""
    if site.node.op != "call_module":
        return free_name(traced, inside(site.node), site.kind)
    if not _is_shared(traced, site.node):
        return str(site.node.target)
    parent, _, last = str(site.node.target).rpartition(".")
    return free_name(traced, parent, last)


def _own_copy(traced: fx.GraphModule, site: Site) -> str:
    """What stands there is what is wanted; but a module of several sites becomes one for each."""
    if site.insert or site.node.op != "call_module" or not _is_shared(traced, site.node):
        return site.name
    return str(put(traced, site.node, copy.deepcopy(_module(traced, site.node)), _name(traced, site)).target)


def _replace(traced: fx.GraphModule, site: Site, module: nn.Module) -> str:
    if site.kind == "normalization":
        _hand_on_affine(_module(traced, site.node), module)
        if isinstance(module, nn.Identity):
            _give_bias(traced, site.node.all_input_nodes[0])
    if site.kind == "global_pooling":
        grow_linear(traced, site.node, getattr(module, "cells", 1))
    if site.kind == "convolution":
        _check_size(traced, site, module)
    node = put(traced, site.node, module, _name(traced, site))
    if site.kind == "global_pooling" and len(node.meta["shape"]) == 2:
        # x.mean([2, 3]) drops the dimensions that a pooling module keeps
        with traced.graph.inserting_after(node):
            flat = traced.graph.call_function(torch.flatten, (node, 1))
        node.replace_all_uses_with(flat, delete_user_cb=lambda user: user is not flat)
    return str(node.target)


def _check_size(traced: fx.GraphModule, site: Site, module: nn.Module) -> None:
    """Raises Unsuitable unless the maps behind the site keep their size."""
    if _is_shared(traced, site.node):
        raise Unsuitable("it is called more than once, with the same weights, which new ones would not share")
    wanted = tuple(site.node.meta["shape"])
    made = tuple(meta_copy(module)(torch.empty(site.place.shape, device="meta")).shape)
    if made != wanted:
        raise Unsuitable(f"its maps of {wanted[2]}×{wanted[3]} would become {made[2]}×{made[3]}; choose groups_2")


def _hand_on_affine(old: nn.Module, new: nn.Module) -> None:
    """A norm that a residual branch starts at zero must start at zero whatever its kind."""
    if isinstance(new, ChannelsLast):
        new = new.inner
    new_parameters = {name.rpartition(".")[2]: parameter for name, parameter in new.named_parameters()}
    for name, parameter in old.named_parameters():
        target = new_parameters.get(name.rpartition(".")[2])
        if target is not None and target.shape == parameter.shape:
            with torch.no_grad():
                target.copy_(parameter)


def _convolution(traced: fx.GraphModule, node: fx.Node) -> nn.Conv2d | None:
    """The convolution that ``node`` calls, or the last of those that a swap has put there."""
    module = _module(traced, node) if node.op == "call_module" else None
    if isinstance(module, nn.Sequential):
        module = module[-1]
    return module if isinstance(module, nn.Conv2d) else None


def _give_bias(traced: fx.GraphModule, node: fx.Node) -> None:
    """Without its norm a convolution would have no shift."""
    layer = _convolution(traced, node)
    if layer is not None and layer.bias is None:
        layer.register_parameter("bias", nn.Parameter(layer.weight.new_zeros(layer.out_channels)))


def _insert(traced: fx.GraphModule, site: Site, module: nn.Module) -> str:
    """Puts the module before an argument of the site's node, or behind the node and what was put there already."""
    node = present(site.node)
    name = _inserted_name(traced, site)
    traced.add_submodule(name, module)
    if site.operand is not None:
        before = node.all_input_nodes[site.operand]
        with traced.graph.inserting_before(node):
            new = traced.graph.call_module(name, (before,))
        node.replace_input_with(before, new)
        return name
    if site.kind == "normalization":
        layer = _convolution(traced, node)
        assert layer is not None, "a norm is put in behind a convolution"
        layer.register_parameter("bias", None)  # the norm's own shift makes it needless
    before = node.meta.get("tail", node)
    with traced.graph.inserting_after(before):
        new = traced.graph.call_module(name, (before,))
    before.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)
    node.meta["tail"] = new
    return name


def _inserted_name(traced: fx.GraphModule, site: Site) -> str:
    """conv_norm beside conv; attention in a residual block."""
    last = "norm" if site.kind == "normalization" else site.kind
    if site.node.op == "call_module":
        parent, _, beside = str(site.node.target).rpartition(".")
    else:
        parent, beside = inside(site.node), "" if site.operand is not None else site.node.name
    return free_name(traced, parent, f"{beside}_{last}" if beside else last)
