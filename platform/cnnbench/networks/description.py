"""A network layer by layer: output size, receptive field, parameters, multiply-accumulates; and its component sites."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from cnnbench.components.sites import find
from cnnbench.components.trace import FollowsTraining, meta_copy, trace
from cnnbench.networks import cost
from cnnbench.networks.receptive_field import Field, fields

NOT_COUNTED = (
    "MACs: convolutions, linear layers and other matrix products, attention; not biases, normalisation, activations, "
    "pooling, sums. Receptive fields: windows and their strides; not what a gate (squeeze-excite) or the statistics of "
    "a normalisation bring from further away; attention counts as the whole image."
)


@dataclass(frozen=True)
class Layer:
    """One computation. output: its shape for one image, without the batch: (channels, height, width) of maps. field:
    None for a value that the image does not flow into. A layer used twice has its parameters at its first use."""

    name: str
    type: str
    output: tuple[int, ...]
    field: Field | None
    params: int
    macs: int


@dataclass(frozen=True)
class SiteOf:
    """One site of a component kind. value: the component or number that stands there; None: something that a study
    can't choose. insert: nothing stands there yet."""

    name: str
    value: str | float | None
    insert: bool


@dataclass(frozen=True)
class Description:
    """layers: in the order of computation. unused_params: of parts that the forward pass in evaluation does not run,
    such as auxiliary heads; with them, the layers' parameters and MACs add up to ``cost``'s."""

    layers: tuple[Layer, ...]
    unused_params: int
    sites: Mapping[str, tuple[SiteOf, ...]]
    cost: cost.NetworkCost

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; a field of the whole image has the size "image"."""
        return {
            "layers": [{**vars(layer), "field": _plain_field(layer.field)} for layer in self.layers],
            "unused_params": self.unused_params,
            "sites": {kind: [vars(site) for site in sites] for kind, sites in self.sites.items()},
            "cost": vars(self.cost),
            "not_counted": NOT_COUNTED,
        }


def _plain_field(field: Field | None) -> dict[str, Any] | None:
    if field is None:
        return None
    return {"size": "image" if math.inf in field.size else field.size, "stride": field.stride}


def describe(network: nn.Module, input: tuple[int, int, int]) -> Description:
    """Describes ``network`` at one image of (channels, height, width), in evaluation mode; it stays as it is, and may
    lie on the meta device. Raises ComponentError for a network that can't be traced."""
    traced = trace(network, input)
    run = _Count(traced, input)
    seen = fields(traced)
    layers = []
    owned: set[int] = set()
    for node in traced.graph.nodes:
        own = [tensor for tensor in _parameters(traced, node) if id(tensor) not in owned]
        owned.update(map(id, own))
        output = run.outputs.get(node)
        if output is None or (node.op == "get_attr" and not own):
            continue
        params = sum(tensor.numel() for tensor in own)
        layers.append(Layer(_name(node), _type(traced, node), output, seen.get(node), params, run.flops[node] // 2))
    measured = cost.measure(network, input)
    sites = {
        kind: tuple(SiteOf(site.name, site.value, site.insert) for site in found)
        for kind, found in find(traced).items()
    }
    return Description(tuple(layers), measured.params - sum(layer.params for layer in layers), sites, measured)


class _Count(fx.Interpreter):
    """Runs the graph on the meta device; notes each computation's output shape and FLOPs."""

    def __init__(self, traced: fx.GraphModule, input: tuple[int, int, int]) -> None:
        super().__init__(meta_copy(traced), graph=traced.graph)
        self.outputs: dict[fx.Node, tuple[int, ...]] = {}
        self.flops: dict[fx.Node, int] = {}
        with cost.counting() as self._counter:
            self.run(torch.empty((1, *input), device="meta"))

    _counter: FlopCounterMode

    def run_node(self, n: fx.Node) -> Any:
        before = self._counter.get_total_flops()
        result = super().run_node(n)
        self.flops[n] = self._counter.get_total_flops() - before
        first = result[0] if isinstance(result, tuple) and n.op == "call_module" else result  # attention, its weights
        if isinstance(first, Tensor) and n.op not in ("placeholder", "output"):
            self.outputs[n] = tuple(first.shape[1:]) if n.op != "get_attr" else tuple(first.shape)
        return result


def _parameters(traced: fx.GraphModule, node: fx.Node) -> list[nn.Parameter]:
    if node.op == "call_module":
        return list(traced.get_submodule(str(node.target)).parameters())
    if node.op == "get_attr":
        owner, _, name = str(node.target).rpartition(".")
        value = getattr(traced.get_submodule(owner), name, None)
        return [value] if isinstance(value, nn.Parameter) else []
    return []


def _name(node: fx.Node) -> str:
    """The module's or parameter's own name; for a function, the name of its call in the module that makes it."""
    if node.op in ("call_module", "get_attr"):
        return str(node.target)
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return ".".join(filter(None, [str(stack[-1][0]) if stack else "", node.name]))


def _type(traced: fx.GraphModule, node: fx.Node) -> str:
    if node.op == "call_module":
        module = traced.get_submodule(str(node.target))
        return module.function.__name__ if isinstance(module, FollowsTraining) else type(module).__name__
    if node.op == "get_attr":
        return "Parameter"
    return str(getattr(node.target, "__name__", node.target))
