"""What a traced network has at a node, and a place at one where a component stands or could be put."""

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from cnnbench.components.kinds import COMPONENTS, ChannelsLast, Place
from cnnbench.components.trace import inside

_SCALING_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
NORMS = (*_SCALING_NORMS, nn.LocalResponseNorm)
_SIGMOIDS = (nn.Sigmoid, nn.Hardsigmoid, torch.sigmoid, F.sigmoid, F.hardsigmoid, "sigmoid")
_PRODUCTS = (operator.mul, torch.mul, "mul")


@dataclass(frozen=True)
class Site:
    """One place in the network. value: the registered name (or the number) of what stands there, None for something
    else. also: further values that it has as well. insert: nothing stands there; the component goes behind the node or,
    with ``operand``, before the node's argument of that number. share: of the study's number that this site gets."""

    kind: str
    name: str
    node: fx.Node
    place: Place
    value: str | float | None
    insert: bool = False
    operand: int | None = None
    share: float = 1.0
    also: tuple[str, ...] = ()

    def has(self, value: str | float) -> bool:
        """True if what stands there is what ``value`` would put there."""
        return value in self.also or self.value == (value if isinstance(value, str) else value * self.share)


def module_of(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """The module that ``node`` calls, out of its wrapper for the layout; None if it calls no module."""
    if node.op != "call_module":
        return None
    module = traced.get_submodule(str(node.target))
    return module.inner if isinstance(module, ChannelsLast) else module


def calls(traced: fx.GraphModule, node: fx.Node, things: tuple[Any, ...]) -> bool:
    """True if ``node`` calls one of ``things``: module classes, functions and names of methods."""
    module = module_of(traced, node)
    if module is not None:
        return isinstance(module, tuple(thing for thing in things if isinstance(thing, type)))
    return node.op in ("call_function", "call_method") and node.target in things


def normalizes(traced: fx.GraphModule, node: fx.Node) -> bool:
    """True for a normalisation, torch's or one that a swap has put in."""
    values = COMPONENTS["normalization"]
    ours = {module for value in values for module in values[value].facts["same_as"]} - {nn.Identity}
    return isinstance(module_of(traced, node), (*NORMS, *ours))


def is_normalized(network: nn.Module) -> bool:
    """True if ``network`` has normalisations behind which the scale of the weights before them makes no difference.
    Local response normalisation is none of them."""
    return any(isinstance(module, _SCALING_NORMS) for module in network.modules())


def makes_gate(traced: fx.GraphModule, node: fx.Node) -> bool:
    """True if all that becomes of ``node``'s value is a sigmoid, and then a factor: a gate, as in squeeze-excite."""
    sigmoid = False
    while len(node.users) == 1:
        node = next(iter(node.users))
        sigmoid = sigmoid or calls(traced, node, _SIGMOIDS)
        if sigmoid and node.target in _PRODUCTS:
            return True
    return False


def is_map(node: fx.Node) -> bool:
    """True if the node's value is (N, channels, height, width), above 1×1."""
    shape = node.meta.get("shape", ())
    return len(shape) == 4 and node.meta["channel_dim"] == 1 and shape[2:] != (1, 1)


def name_of(traced: fx.GraphModule, node: fx.Node) -> str:
    """The qualified name of the module that ``node`` calls, or of its call."""
    if node.op == "call_module":
        return str(node.target)
    return ".".join(filter(None, [inside(node), node.name]))
