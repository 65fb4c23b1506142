"""Where components go into a network that has none of their kind yet, or has room for more."""

from collections.abc import Collection, Sequence

from torch import fx, nn
from torchvision.ops import StochasticDepth

from cnnbench.components.branches import Branch
from cnnbench.components.graph import Site, is_map, makes_gate, module_of, name_of, normalizes
from cnnbench.components.kinds import Place

SMALLEST_SIZES = 2  # DropBlock's paper drops in the last two of ResNet's four sizes of map


def behind_convolutions(traced: fx.GraphModule, layers: Sequence[fx.Node]) -> list[Site]:
    """A normalisation behind each convolution but gates' and the last layer, whose logits are not normalised."""
    convolutions = _convolutions(traced, layers)
    return [_behind("normalization", traced, node, "none") for node in convolutions]


def before_last_layer(layers: Sequence[fx.Node]) -> list[Site]:
    """A dropout before the classifier."""
    if not layers:
        return []
    place = Place(layers[-1].all_input_nodes[0].meta["shape"])
    return [Site("dropout", str(layers[-1].target), layers[-1], place, None, insert=True, operand=0)]


def on_features(
    kind: str,
    traced: fx.GraphModule,
    layers: Sequence[fx.Node],
    branches: Sequence[Branch],
    activations: Collection[fx.Node],
    value: str | None,
) -> list[Site]:
    """Attention or Dropout2d on maps: at the end of each residual branch, where squeeze-excite's and CBAM's papers
    have their gates, or, in a network without such branches, behind the activation of each convolution."""
    ends = [_at_end(kind, traced, branch, value) for branch in branches if _is_of_maps(branch)]
    if ends:
        return ends
    units = [_end_of_unit(traced, node, activations) for node in _convolutions(traced, layers)]
    return [_behind(kind, traced, node, value) for node in units if node in activations and is_map(node)]


def drop_blocks(
    traced: fx.GraphModule, layers: Sequence[fx.Node], branches: Sequence[Branch], activations: Collection[fx.Node]
) -> list[Site]:
    """As in the paper's ResNet-50 (Ghiasi et al. 2018, arXiv:1810.12890, section 4.1): behind each convolution with its
    norm and activation, and in the shortcuts, in the later groups: here in maps of the two smallest sizes."""
    units = [_end_of_unit(traced, node, activations) for node in _convolutions(traced, layers)]
    units = [node for node in units if is_map(node)]
    if len(units) < 2:
        return []  # a transformer, whose one convolution cuts the image into patches
    small = sorted({_pixels(node) for node in units})[:SMALLEST_SIZES]
    sites = [_behind("drop_block", traced, node, None) for node in units if _pixels(node) in small]
    for branch in branches:
        if _is_of_maps(branch) and _pixels(branch.addition) in small and branch.shortcut not in units:
            sites.append(_before("drop_block", traced, branch.addition, 1 - branch.operand, None))
    return sites


def stochastic_depths(traced: fx.GraphModule, branches: Sequence[Branch]) -> list[Site]:
    """One a branch: what stands at its end, or a new one there. The l-th of L branches gets l/L of the rate (Huang et
    al. 2016, arXiv:1603.09382, section 3)."""
    sites = []
    for number, branch in enumerate(branches, start=1):
        share = number / len(branches)
        module = module_of(traced, branch.end)
        if isinstance(module, StochasticDepth):
            rate = float(module.p) if module.mode == "row" else None
            place = Place(branch.end.meta["shape"])
            sites.append(Site("stochastic_depth", name_of(traced, branch.end), branch.end, place, rate, share=share))
        else:
            sites.append(_before("stochastic_depth", traced, branch.addition, branch.operand, share=share))
    return sites


def _convolutions(traced: fx.GraphModule, layers: Sequence[fx.Node]) -> list[fx.Node]:
    convolutions = [node for node in layers[:-1] if isinstance(module_of(traced, node), nn.Conv2d)]
    return [node for node in convolutions if not makes_gate(traced, node)]


def _end_of_unit(traced: fx.GraphModule, node: fx.Node, activations: Collection[fx.Node]) -> fx.Node:
    """The last node of a convolution with its norm and its activation."""
    while len(node.users) == 1 and node not in activations:
        after = next(iter(node.users))
        if after not in activations and not normalizes(traced, after):
            break
        node = after
    return node


def _behind(kind: str, traced: fx.GraphModule, node: fx.Node, value: str | None) -> Site:
    return Site(kind, name_of(traced, node), node, Place(node.meta["shape"]), value, insert=True)


def _before(
    kind: str, traced: fx.GraphModule, node: fx.Node, operand: int, value: str | None = None, share: float = 1.0
) -> Site:
    place = Place(node.meta["shape"], node.meta["channel_dim"])
    return Site(kind, name_of(traced, node), node, place, value, insert=True, operand=operand, share=share)


def _at_end(kind: str, traced: fx.GraphModule, branch: Branch, value: str | None) -> Site:
    """At the end of the branch, but before a stochastic depth that stands there."""
    if isinstance(module_of(traced, branch.end), StochasticDepth):
        return _before(kind, traced, branch.end, 0, value)
    return _before(kind, traced, branch.addition, branch.operand, value)


def _is_of_maps(branch: Branch) -> bool:
    # a trace knows where the channels are behind a layer, not behind any reshaping of tokens
    return is_map(branch.addition) and is_map(branch.end)


def _pixels(node: fx.Node) -> int:
    height, width = node.meta["shape"][2:]
    return int(height * width)
