"""Residual branches: found in a traced network by what they are, an addition to the block's own input."""

import operator
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.nn import functional as F
from torchvision.ops import DropBlock2d as TorchvisionDropBlock2d
from torchvision.ops import StochasticDepth

from cnnbench.components import dropout
from cnnbench.components.drop_block import DropBlock2d
from cnnbench.components.graph import module_of, normalizes

_ADDITIONS = (operator.add, torch.add, "add", "add_")  # fx sees += as +
# What a shortcut may do to the block's input besides a 1×1 convolution: no activation, and nothing that mixes pixels
# but an average or maximum on the way to a smaller map.
_PROJECTION_MODULES = (
    *(nn.Identity, nn.AvgPool2d, nn.MaxPool2d, nn.ZeroPad2d, nn.ConstantPad2d),
    *(*dropout.MODULES["dropout"], *dropout.MODULES["dropout2d"]),
    *(StochasticDepth, DropBlock2d, TorchvisionDropBlock2d),
)
_PROJECTION_CALLS = (operator.getitem, F.pad, F.avg_pool2d, F.max_pool2d, "contiguous")


@dataclass(frozen=True)
class Branch:
    """addition: the node that adds it; operand: which of the addition's two arguments it is (0 or 1); begin: the node
    of the block's input, where branch and shortcut part."""

    addition: fx.Node
    operand: int
    begin: fx.Node

    @property
    def end(self) -> fx.Node:
        return _operand(self.addition, self.operand)

    @property
    def shortcut(self) -> fx.Node:
        """The last node of the other side: ``begin`` itself, or the end of its projection."""
        return _operand(self.addition, 1 - self.operand)


def find_branches(traced: fx.GraphModule) -> tuple[Branch, ...]:
    """The residual branches of a traced network, in the order of computation.

    A branch is one side of an addition whose other side is the block's input or its projection (He et al. 2015,
    arXiv:1512.03385, section 3.2: 1×1 convolution, or fewer pixels and more zero channels). Concatenations (DenseNet)
    and sums of equals have none.
    """
    ancestors: dict[fx.Node, set[fx.Node]] = {}
    branches = []
    for node in traced.graph.nodes:
        ancestors[node] = {node}.union(*(ancestors[before] for before in node.all_input_nodes))
        sides = [argument for argument in node.args if isinstance(argument, fx.Node)]
        if node.target not in _ADDITIONS or len(sides) != 2 or len(node.args) != 2:
            continue
        ways = [_shortcut(traced, sides[side], ancestors[sides[1 - side]]) for side in (0, 1)]
        shortcuts = [side for side in (0, 1) if ways[side] is not None]
        if len(shortcuts) == 2:  # one of them may be a branch of so little that it looks like a projection
            shortcuts = [side for side in (0, 1) if ways[side] is sides[side]]
        if len(shortcuts) == 1:
            begin = ways[shortcuts[0]]
            assert begin is not None, "a shortcut begins somewhere"
            branches.append(Branch(node, 1 - shortcuts[0], begin))
    return tuple(branches)


def _operand(addition: fx.Node, side: int) -> fx.Node:
    operand = addition.args[side]
    assert isinstance(operand, fx.Node), "a branch's addition has two nodes"
    return operand


def _shortcut(traced: fx.GraphModule, node: fx.Node, branch: set[fx.Node]) -> fx.Node | None:
    """The node of ``branch`` that ``node`` is, or is a projection of; None if it is something else."""
    while node not in branch:
        if len(node.all_input_nodes) != 1 or not _projects(traced, node):
            return None
        node = node.all_input_nodes[0]
    return node


def _projects(traced: fx.GraphModule, node: fx.Node) -> bool:
    module = module_of(traced, node)
    if module is None:
        return node.target in _PROJECTION_CALLS
    if isinstance(module, nn.Conv2d):
        return module.kernel_size == (1, 1)
    return isinstance(module, _PROJECTION_MODULES) or normalizes(traced, node)
