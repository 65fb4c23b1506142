"""A network as a graph (torch.fx) that behaves like the network in training and in evaluation, with the shape of every
value and the dimension of its channels noted at every node."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torchvision.models.convnext import LayerNorm2d
from torchvision.ops import DropBlock2d, StochasticDepth
from torchvision.ops.misc import SqueezeExcitation

from cnnbench.components import dropout
from cnnbench.components.kinds import ComponentError

# These look at self.training, are a gate (SqueezeExcitation) or one site (LayerNorm2d): not opened.
_LEAVES = (SqueezeExcitation, StochasticDepth, DropBlock2d, LayerNorm2d)
_CHANNELS_IN_1 = (
    nn.Conv2d,
    nn.modules.batchnorm._NormBase,  # batch and instance norms
    nn.GroupNorm,
    LayerNorm2d,
)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        ours = type(m).__module__.startswith("cnnbench.components.")
        # an architecture's own gate, or a part that does something else in training, says so itself
        opaque = bool(getattr(type(m), "opaque", False))
        return ours or opaque or isinstance(m, _LEAVES) or super().is_leaf_module(m, module_qualified_name)


def meta_copy(network: nn.Module) -> Any:
    """A copy of ``network`` in evaluation mode, on the meta device: shapes without numbers, memory or time."""
    memo: dict[int, Any] = {}
    for parameter in network.parameters():
        memo[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
    for buffer in network.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(network, memo).eval()


def trace(network: nn.Module, image: tuple[int, int, int]) -> fx.GraphModule:
    """Returns a traced copy of ``network``, with ``shape`` and ``channel_dim`` in each node's ``meta``.

    image: (channels, height, width). Calls that work in place work out of place in the copy, since a component that
    is put in may return its input as it is. Raises ComponentError for a network that can't be traced, or that does
    something else in training than in evaluation, which a trace would freeze.
    """
    copied = copy.deepcopy(network).train()
    graph = _trace_as_it_is(copied)
    mode_calls = _mode_calls(graph, _trace_as_it_is(copy.deepcopy(network).eval()), network)
    traced = fx.GraphModule(copied, graph, class_name=type(network).__name__)
    for node in mode_calls:
        _as_module(traced, node)
    _note_shapes(traced, image)
    _work_out_of_place(traced)
    return traced


def _trace_as_it_is(network: nn.Module) -> fx.Graph:
    try:
        return _Tracer().trace(network)
    except Exception as error:  # fx lets through whatever the forward pass raises on a symbolic input
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        name = type(network).__name__
        raise ComponentError(f"{name} can't be traced by torch.fx, so takes no components: {reason}") from error


def _mode_calls(training: fx.Graph, evaluation: fx.Graph, network: nn.Module) -> list[fx.Node]:
    """The calls of the training graph, as of F.dropout, that are told training=self.training: all that may differ."""
    pairs = list(zip(training.nodes, evaluation.nodes, strict=False))
    same = len(training.nodes) == len(evaluation.nodes) and all(_signature(a) == _signature(b) for a, b in pairs)
    if not same:
        raise ComponentError(
            f"{type(network).__name__} computes something else in training than in evaluation (auxiliary heads?), "
            "which a trace would freeze, so takes no components; build it without that part"
        )
    return [a for a, b in pairs if a.kwargs.get("training") != b.kwargs.get("training")]


def _signature(node: fx.Node) -> tuple[Any, ...]:
    kwargs = {name: value for name, value in node.kwargs.items() if name != "training"}
    return node.op, node.target, str(node.args), str(kwargs)


class FollowsTraining(nn.Module):
    """A function with a ``training`` argument, called with the module's own mode."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, training=self.training, **kwargs)


def _as_module(traced: fx.GraphModule, node: fx.Node) -> None:
    """Puts a module in place of a call whose ``training`` the trace froze."""
    function: Any = node.target
    if function in dropout.FUNCTIONS:
        module = dropout.FUNCTIONS[function](node.kwargs["p"])
        put(traced, node, module, free_name(traced, inside(node), "dropout"))
        return
    name = free_name(traced, inside(node), function.__name__)
    traced.add_submodule(name, FollowsTraining(function))
    with traced.graph.inserting_after(node):
        kwargs = {key: value for key, value in node.kwargs.items() if key != "training"}
        new = traced.graph.call_module(name, node.args, kwargs)
    new.meta = dict(node.meta)
    node.replace_all_uses_with(new)
    traced.graph.erase_node(node)


class _ShapeNotes(fx.Interpreter):
    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            n.meta["shape"] = tuple(result.shape)
            n.meta["channel_dim"] = _channel_dim(n, self.module)
        return result


def _note_shapes(traced: fx.GraphModule, image: tuple[int, int, int]) -> None:
    with torch.no_grad():
        _ShapeNotes(meta_copy(traced), graph=traced.graph).run(torch.empty((1, *image), device="meta"))


def _channel_dim(node: fx.Node, network: nn.Module) -> int:
    """The dimension of the channels in ``node``'s value: known behind a layer, followed through permutations."""
    dims = len(node.meta["shape"])
    before = next((n.meta["channel_dim"] for n in node.all_input_nodes if len(n.meta.get("shape", ())) == dims), None)
    if node.op == "call_module":
        module = network.get_submodule(str(node.target))
        if isinstance(module, _CHANNELS_IN_1):
            return 1
        if isinstance(module, nn.Linear | nn.LayerNorm):
            return dims - 1
    if node.target in (torch.permute, "permute") and before is not None:
        order: Any = node.args[1] if isinstance(node.args[1], list | tuple) else node.args[1:]
        return [int(dim) % dims for dim in order].index(int(before))
    if node.target in (torch.transpose, "transpose") and before is not None:
        pair: Any = node.args[1:3]
        first, second = (int(dim) % dims for dim in pair)
        return {first: second, second: first}.get(int(before), int(before))
    if before is not None:
        return int(before)
    return 1 if dims in (2, 4) else dims - 1


def _work_out_of_place(traced: fx.GraphModule) -> None:
    """Makes activations and dropouts that overwrite their input return a new tensor, and gives that one to everybody
    who would have read the overwritten one."""
    order = {node: position for position, node in enumerate(traced.graph.nodes)}
    for node in traced.graph.nodes:
        if not _overwrites(traced, node):
            continue
        overwritten = node.all_input_nodes[0]
        for user in list(overwritten.users):
            if order[user] > order[node]:
                user.replace_input_with(overwritten, node)
    for node in traced.graph.nodes:
        if node.kwargs.get("inplace"):
            node.update_kwarg("inplace", False)
        elif _is_underscore_call(node):
            name = str(getattr(node.target, "__name__", node.target))[:-1]
            node.target = name if node.op == "call_method" else getattr(torch, name)
    for module in traced.modules():
        if getattr(module, "inplace", False):
            setattr(module, "inplace", False)  # noqa: B010 (nn.Module declares its attributes to be tensors)


def _overwrites(traced: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return bool(getattr(traced.get_submodule(str(node.target)), "inplace", False))
    return bool(node.kwargs.get("inplace")) or _is_underscore_call(node)


def _is_underscore_call(node: fx.Node) -> bool:
    """x.relu_(), torch.relu_(x), …"""
    name = getattr(node.target, "__name__", node.target)
    if node.op not in ("call_method", "call_function") or not isinstance(name, str):
        return False
    return name.endswith("_") and not name.endswith("__") and hasattr(torch, name[:-1])


def put(traced: fx.GraphModule, node: fx.Node, module: nn.Module, name: str) -> fx.Node:
    """Puts ``module`` in ``node``'s place, under ``name``; returns its node, which ``present`` gives for ``node``."""
    traced.add_submodule(name, module)
    with traced.graph.inserting_after(node):
        new = traced.graph.call_module(name, (node.all_input_nodes[0],))
    new.meta = dict(node.meta)
    node.meta["became"] = new
    node.replace_all_uses_with(new)
    traced.graph.erase_node(node)
    return new


def present(node: fx.Node) -> fx.Node:
    """The node that stands today where ``node`` stood."""
    while "became" in node.meta:
        node = node.meta["became"]
    return node


def inside(node: fx.Node) -> str:
    """The qualified name of the module whose forward pass makes this call; "" for the network itself."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return str(stack[-1][0]) if stack else ""


def free_name(traced: fx.GraphModule, parent: str, name: str) -> str:
    """A qualified name in ``parent`` that no module has: ``name``, or name_1, …"""
    taken = {target for target, _ in traced.named_modules()}
    prefix = f"{parent}." if parent else ""
    count = 0
    free = prefix + name
    while free in taken:
        count += 1
        free = f"{prefix}{name}_{count}"
    return free
