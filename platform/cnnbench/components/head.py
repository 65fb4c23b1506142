"""The linear layer behind a global pooling, which needs as many inputs as the pooling gives."""

from typing import Any

import torch
from torch import fx, nn

from cnnbench.components import dropout
from cnnbench.components.graph import calls, module_of, name_of, normalizes
from cnnbench.components.kinds import Unsuitable

_ELEMENTWISE = (nn.Identity, *(module for modules in dropout.MODULES.values() for module in modules))
_FLATTENINGS = (nn.Flatten, torch.flatten, "flatten")
_RESHAPES = (torch.reshape, "view", "reshape")
_QUESTIONS = (getattr, "size", "dim")  # x.shape, which a reshape asks for


def grow_linear(traced: fx.GraphModule, pooling: fx.Node, cells: int) -> None:
    """Makes the linear layer behind ``pooling`` anew, for ``cells`` numbers a channel, initialised as PyTorch does.

    Does nothing where the pooling gives that many already. Raises Unsuitable where no linear layer reads it alone.
    """
    before = int(getattr(module_of(traced, pooling), "cells", 1))
    if cells == before:
        return
    target = str(_linear_behind(traced, pooling).target)
    old: Any = traced.get_submodule(target)
    inputs = old.in_features // before * cells
    new = nn.Linear(inputs, old.out_features, old.bias is not None, old.weight.device, old.weight.dtype)
    traced.add_submodule(target, new)


def _linear_behind(traced: fx.GraphModule, node: fx.Node) -> fx.Node:
    flat = len(node.meta["shape"]) == 2
    while True:
        users = [user for user in node.users if user.target not in _QUESTIONS]
        if len(users) != 1:
            raise _unsuitable(f"{len(users)} layers read it")
        node = users[0]
        if flat and isinstance(module_of(traced, node), nn.Linear):
            return node
        if calls(traced, node, _FLATTENINGS) or (node.target in _RESHAPES and node.args[2:] == (-1,)):
            flat = True
        elif not calls(traced, node, _ELEMENTWISE) and (flat or not normalizes(traced, node)):
            raise _unsuitable(f"{name_of(traced, node)} reads it")


def _unsuitable(what: str) -> Unsuitable:
    return Unsuitable(
        f"more than one number a channel needs a linear layer behind a flattening, but {what}; "
        "choose average, max or average_max"
    )
