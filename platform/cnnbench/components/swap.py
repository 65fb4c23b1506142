"""Putting components into a network from outside, and saying where they went."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn

from cnnbench.components.graph import Site
from cnnbench.components.kinds import KINDS, ComponentError, Unsuitable, check
from cnnbench.components.sites import find
from cnnbench.components.surgery import Value, put_in
from cnnbench.components.trace import trace

# What is put in at one point of the network comes in this order: an attention before the stochastic depth, …. First
# come the kinds that remake or set layers, so that a norm's new bias, or a grown classifier, is initialised as well.
ORDER = (
    *("convolution", "global_pooling", "initialization", "normalization", "activation", "window_pooling"),
    *("attention", "dropout2d", "drop_block", "stochastic_depth", "dropout"),
)
assert set(ORDER) == set(KINDS), "every kind has its turn"

_WHY_NONE = {
    "activation": "it has no activation that a trace sees",
    "window_pooling": "it has no max or average pooling window",
    "global_pooling": "it has no pooling of whole maps, or they are 1×1 before it at this image size",
    "normalization": "it normalises no maps (but perhaps something else), or has no convolution to put a norm behind",
    "attention": "it has neither an attention module, nor a residual branch of maps, nor an activation behind a "
    "convolution of maps",
    "convolution": "it has no convolution whose windows overlap but the first, or its maps are 1×1 before them",
    "initialization": "it has no convolution and no linear layer",
    "dropout": "it has neither a dropout nor a last layer to put one before",
    "dropout2d": "it has neither a dropout of channels, nor a residual branch of maps, nor an activation behind a "
    "convolution of maps",
    "drop_block": "it has fewer than two convolutions whose maps are above 1×1 at this image size",
    "stochastic_depth": "it has no residual branch: no addition of a block's input, or its projection",
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
    Each site gets its own new module; ``kinds.SITES_OF`` says where the sites of a kind are, of the network as it is
    given: what one component puts in is no site for another. A norm put behind a convolution takes its bias away;
    "none" in place of a norm gives the convolution before it a bias, of zero at first. Replaced norms hand on their
    scale and shift. Behind a pooling to more than one cell a channel the linear layer is made anew, with more inputs.
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
    done = {}
    for kind in sorted(wanted, key=ORDER.index):
        done[kind], problem = _set(traced, kind, wanted[kind], sites[kind])
        if problem and not allow_unreached:
            raise ComponentError(f"{name or type(network).__name__}: {kind}={wanted[kind]} {problem}")
    reports = {kind: done[kind] for kind in wanted}
    if not any(report.sites for report in reports.values()):
        return network, SiteReport(reports)
    traced.delete_all_unused_submodules()
    traced.graph.lint()
    traced.recompile()
    return traced.train(network.training), SiteReport(reports)


def count_sites(network: nn.Module, image: tuple[int, int, int]) -> dict[str, int]:
    """Kind → the number of its sites; 0: a component of that kind would reach nothing."""
    return {kind: len(sites) for kind, sites in find(trace(network, image)).items()}


def refusals(
    network: nn.Module, candidates: Mapping[str, Iterable[Value]], image: tuple[int, int, int], *, name: str = ""
) -> dict[str, list[str]]:
    """Kind → what ``swap`` would raise for each of its values by itself; empty where all can be put in. The network is
    traced once, however many values there are."""
    traced = trace(network, image)
    found: dict[str, list[str]] = {kind: [] for kind in candidates}
    for kind, values in candidates.items():
        for value in values:
            check(kind, value)
            tried = copy.deepcopy(traced)
            _, problem = _set(tried, kind, value, find(tried)[kind])
            if problem:
                found[kind].append(f"{name or type(network).__name__}: {kind}={value} {problem}")
    return found


def _set(traced: fx.GraphModule, kind: str, value: Value, sites: tuple[Site, ...]) -> tuple[KindReport, str]:
    """Puts ``value`` at all sites of one kind; returns the report and, unless all were reached, what is wrong."""
    if not sites:
        return KindReport(value, 0, 0, (), "unreached"), f"reaches no site: {_WHY_NONE[kind]}; leave {kind} out for it"
    reached: dict[str, Site] = {}
    refusals = []
    for site in sites:
        try:
            reached[put_in(traced, site, value)] = site
        except Unsuitable as error:
            refusals.append(f"at {site.name}: {error}")
    kept = all(site.has(value) for site in reached.values())
    inserted = any(site.insert for site in reached.values())
    how = "unreached" if not reached else "kept" if kept else "inserted" if inserted else "replaced"
    report = KindReport(value, len(reached), len(sites), tuple(reached), how)
    return report, f"reaches {len(reached)} of {len(sites)} sites; {refusals[0]}" if refusals else ""
