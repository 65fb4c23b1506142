"""Putting components into a network from outside, and saying where they went."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from cnnbench.components.kinds import COMPONENTS, ChannelsLast, ComponentError, Unsuitable, check
from cnnbench.components.sites import Site, find
from cnnbench.components.trace import free_name, inside, put, trace

Value = str | float

_WHY_NONE = {
    "activation": "it has no activation that a trace sees",
    "window_pooling": "it has no max or average pooling window",
    "global_pooling": "it has no pooling of whole maps, or they are 1×1 before it at this image size",
    "normalization": "it normalises no maps (but perhaps something else), or has no convolution to put a norm behind",
    "dropout": "it has neither a dropout nor a last layer to put one before",
}


@dataclass(frozen=True)
class KindReport:
    """What one component did. sites: how many it reached; of: how many of its kind there are; how: "replaced" what
    stood there, "inserted" where nothing stood, "kept" what had the value already, or "unreached"."""

    value: Value
    sites: int
    of: int
    names: tuple[str, ...]
    how: str


@dataclass(frozen=True)
class SiteReport:
    """What each component did, and which stem the network has ("" outside of network.build)."""

    components: Mapping[str, KindReport] = field(default_factory=dict)
    stem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        kinds = {kind: {**vars(report), "names": list(report.names)} for kind, report in self.components.items()}
        return {"stem": self.stem, "components": kinds}


def swap(
    network: nn.Module,
    components: Mapping[str, Value | None],
    image: tuple[int, int, int],
    *,
    name: str = "",
    allow_unreached: bool = False,
) -> tuple[nn.Module, SiteReport]:
    """Returns a copy of ``network`` with each component at all sites of its kind, and the report of them.

    components: kind → value; None leaves the kind as it is. With no value set, the very ``network`` is returned.
    image: (channels, height, width) that it will see. name: how errors call the network.
    Each site gets its own new module. Where the network has no normalisation, one goes behind each convolution but a
    last one, which loses its bias; "none" in place of a norm gives the convolution before it a bias, of zero at first.
    Where there is no dropout, one goes before the last layer. Replaced norms hand on their scale and shift.
    Swap before the optimizer, DDP or a checkpoint sees the network.
    Raises ComponentError for a value that does not exist, and for one that reaches no site, or not all of them, unless
    ``allow_unreached``; then the report says so.
    """
    wanted = {kind: value for kind, value in components.items() if value is not None}
    for kind, value in wanted.items():
        check(kind, value)
    if not wanted:
        return network, SiteReport()
    traced = trace(network, image)
    sites = find(traced)
    reports = {}
    for kind, value in wanted.items():
        reports[kind], problem = _set(traced, kind, value, sites[kind])
        if problem and not allow_unreached:
            raise ComponentError(f"{name or type(network).__name__}: {kind}={value} {problem}")
    if not any(report.sites for report in reports.values()):
        return network, SiteReport(reports)
    traced.delete_all_unused_submodules()
    traced.graph.lint()
    traced.recompile()
    return traced.train(network.training), SiteReport(reports)


def count_sites(network: nn.Module, image: tuple[int, int, int]) -> dict[str, int]:
    """Kind → the number of its sites; 0: a component of that kind would reach nothing."""
    return {kind: len(sites) for kind, sites in find(trace(network, image)).items()}


def _set(traced: fx.GraphModule, kind: str, value: Value, sites: tuple[Site, ...]) -> tuple[KindReport, str]:
    """Puts ``value`` at all sites of one kind; returns the report and, unless all were reached, what is wrong."""
    if not sites:
        return KindReport(value, 0, 0, (), "unreached"), f"reaches no site: {_WHY_NONE[kind]}; leave {kind} out for it"
    reached: dict[str, Site] = {}
    refusals = []
    for site in sites:
        try:
            reached[_set_one(traced, site, value)] = site
        except Unsuitable as error:
            refusals.append(f"at {site.name}: {error}")
    kept = all(site.value == value for site in reached.values())
    how = "unreached" if not reached else "kept" if kept else "inserted" if sites[0].insert else "replaced"
    report = KindReport(value, len(reached), len(sites), tuple(reached), how)
    return report, f"reaches {len(reached)} of {len(sites)} sites; {refusals[0]}" if refusals else ""


def _set_one(traced: fx.GraphModule, site: Site, value: Value) -> str:
    """Puts ``value`` at one site; returns the name it has there."""
    if site.value == value:
        return _own_copy(traced, site)
    if site.insert:
        return _insert(traced, site, value)
    if isinstance(value, str):
        return _replace(traced, site, _new(traced, site, value))
    module = copy.deepcopy(_module(traced, site.node))
    setattr(module, "p", float(value))  # noqa: B010 (nn.Module declares its attributes to be tensors)
    return str(put(traced, site.node, module, _name(traced, site)).target)


def _new(traced: fx.GraphModule, site: Site, value: str) -> nn.Module:
    """A new component for ``site``, on the device of the network's parameters."""
    module = COMPONENTS[site.kind][value].thing(site.place)
    first = next(traced.parameters(), None)
    return module if first is None else module.to(first.device)


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
    node = put(traced, site.node, module, _name(traced, site))
    if site.kind == "global_pooling" and len(node.meta["shape"]) == 2:
        # x.mean([2, 3]) drops the dimensions that a pooling module keeps
        with traced.graph.inserting_after(node):
            flat = traced.graph.call_function(torch.flatten, (node, 1))
        node.replace_all_uses_with(flat, delete_user_cb=lambda user: user is not flat)
    return str(node.target)


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


def _give_bias(traced: fx.GraphModule, node: fx.Node) -> None:
    """Without its norm a convolution would have no shift."""
    layer = _module(traced, node) if node.op == "call_module" else None
    if isinstance(layer, nn.Conv2d) and layer.bias is None:
        layer.register_parameter("bias", nn.Parameter(layer.weight.new_zeros(layer.out_channels)))


def _insert(traced: fx.GraphModule, site: Site, value: Value) -> str:
    """Puts a norm behind the site's convolution, whose bias it makes needless, or a dropout before its layer."""
    parent, _, last = str(site.node.target).rpartition(".")
    if isinstance(value, str):
        name = free_name(traced, parent, f"{last}_norm")
        traced.add_submodule(name, _new(traced, site, value))
        _module(traced, site.node).register_parameter("bias", None)
        with traced.graph.inserting_after(site.node):
            node = traced.graph.call_module(name, (site.node,))
        site.node.replace_all_uses_with(node, delete_user_cb=lambda user: user is not node)
        return name
    name = free_name(traced, parent, f"{last}_dropout")
    traced.add_submodule(name, nn.Dropout(value))
    before = site.node.all_input_nodes[0]
    with traced.graph.inserting_before(site.node):
        node = traced.graph.call_module(name, (before,))
    site.node.replace_input_with(before, node)
    return name
