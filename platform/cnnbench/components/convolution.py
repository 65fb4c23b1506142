"""Convolutions of maps in place of an architecture's own: another kernel size, dilation, number of groups or padding.

Each value changes one argument and keeps the others, the stride always. Where the window's span changes, the padding
follows, so that maps keep their sizes: padding' = padding + (span' − span) / 2, with span = dilation · (kernel − 1).
A kernel's side of 1, as of Inception's 1×7, stays 1. New weights are PyTorch's own, uniform in ±1/√fan_in, as of every
new layer; architectures that draw theirs otherwise are compared fairly with ``initialization`` set for all.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from torch import nn

from cnnbench.components.kinds import COMPONENTS, Convolution, Place, Unsuitable

CONVOLUTIONS = COMPONENTS["convolution"]

# What a value makes of the convolution that stands there. Raises Unsuitable.
Remake = Callable[[Convolution], Convolution]


def as_it_stands(conv: nn.Conv2d) -> Convolution:
    """The arguments of ``conv``; its padding as numbers, which for "same" beside an even kernel are too small."""
    (height, width), (down, across) = conv.kernel_size, conv.dilation
    padding = conv.padding
    if isinstance(padding, str):
        padding = (down * (height - 1) // 2, across * (width - 1) // 2) if padding == "same" else (0, 0)
    return Convolution(
        in_channels=conv.in_channels,
        out_channels=conv.out_channels,
        kernel_size=(height, width),
        stride=(conv.stride[0], conv.stride[1]),
        padding=(padding[0], padding[1]),
        dilation=(down, across),
        groups=conv.groups,
        bias=conv.bias is not None,
        padding_mode=conv.padding_mode,
    )


def overlaps(conv: Convolution) -> bool:
    """True if windows share pixels: not of a 1×1 convolution, nor of one that cuts a map into patches."""
    return any(_span(conv, side) + 1 > conv.stride[side] for side in (0, 1))


def is_depthwise(conv: Convolution) -> bool:
    """A filter for each channel by itself."""
    return conv.groups == conv.in_channels > 1


def own_values(conv: Convolution) -> tuple[str, ...]:
    """The values that would leave ``conv`` as it is."""
    return tuple(value for value in CONVOLUTIONS if _same(CONVOLUTIONS[value].facts.get("remake"), conv))


def _same(remake: Remake | None, conv: Convolution) -> bool:
    try:
        return remake is not None and remake(conv) == conv
    except Unsuitable:
        return False


def _old(place: Place) -> Convolution:
    assert place.convolution is not None, "a convolution's place has a convolution"
    return place.convolution


def _layer(conv: Convolution) -> nn.Conv2d:
    return nn.Conv2d(**vars(conv))


def _span(conv: Convolution, side: int) -> int:
    """Pixels from the window's first to its last."""
    return conv.dilation[side] * (conv.kernel_size[side] - 1)


def _same_size(new: Convolution, old: Convolution) -> Convolution:
    """``new`` with the padding that keeps the size of the maps that ``old`` makes."""
    twice = [2 * old.padding[side] + _span(new, side) - _span(old, side) for side in (0, 1)]
    sizes = "×".join(map(str, old.kernel_size))
    if any(number % 2 for number in twice):
        raise Unsuitable(f"beside a kernel of {sizes} its padding would differ from side to side; choose groups_2")
    if min(twice) < 0:
        raise Unsuitable(
            f"it has a kernel of {sizes} with too little padding: a smaller one would make its maps larger; "
            "choose a larger one"
        )
    return replace(new, padding=(twice[0] // 2, twice[1] // 2))


def _kernel(size: int) -> Remake:
    def remake(conv: Convolution) -> Convolution:
        height, width = (side if side == 1 else size for side in conv.kernel_size)
        return _same_size(replace(conv, kernel_size=(height, width)), conv)

    return remake


def _pointwise(conv: Convolution) -> Convolution:
    if is_depthwise(conv):
        raise Unsuitable("it is depthwise, and 1×1 it would only scale its channels; choose kernel_3")
    return _same_size(replace(conv, kernel_size=(1, 1), dilation=(1, 1)), conv)


def _dilated(conv: Convolution) -> Convolution:
    down, across = (1 if side == 1 else 2 for side in conv.kernel_size)
    return _same_size(replace(conv, dilation=(down, across)), conv)


def _groups(count: int) -> Remake:
    def remake(conv: Convolution) -> Convolution:
        if is_depthwise(conv):
            raise Unsuitable("it is depthwise: it has a group for each channel already; choose kernel_5 or dilation_2")
        for channels in (conv.in_channels, conv.out_channels):
            if channels % count:
                raise Unsuitable(f"{channels} channels don't make {count} equal groups; choose depthwise_separable")
        return replace(conv, groups=count)

    return remake


def _reflecting(conv: Convolution) -> Convolution:
    return replace(conv, padding_mode="reflect") if any(conv.padding) else conv


@CONVOLUTIONS.register("kernel_3", same_as=(), remake=_kernel(3))
def kernel_3(place: Place) -> nn.Module:
    """A window of 3×3 (Simonyan & Zisserman 2014, arXiv:1409.1556, section 2.3: why it is enough)."""
    return _layer(_kernel(3)(_old(place)))


@CONVOLUTIONS.register("kernel_5", same_as=(), remake=_kernel(5))
def kernel_5(place: Place) -> nn.Module:
    """A window of 5×5."""
    return _layer(_kernel(5)(_old(place)))


@CONVOLUTIONS.register("kernel_7", same_as=(), remake=_kernel(7))
def kernel_7(place: Place) -> nn.Module:
    """A window of 7×7, as ConvNeXt's depthwise ones have it (Liu et al. 2022, arXiv:2201.03545, section 2.5)."""
    return _layer(_kernel(7)(_old(place)))


@CONVOLUTIONS.register("pointwise", same_as=(), remake=_pointwise)
def pointwise(place: Place) -> nn.Module:
    """A window of one pixel, at the old stride: channels are mixed, neighbours are not (Lin et al. 2013,
    arXiv:1312.4400). It shows what the neighbourhood is worth."""
    return _layer(_pointwise(_old(place)))


@CONVOLUTIONS.register("dilation_2", same_as=(), remake=_dilated)
def dilation_2(place: Place) -> nn.Module:
    """The same kernel on every second pixel: a wider field at no further weight (Yu & Koltun 2015,
    arXiv:1511.07122)."""
    return _layer(_dilated(_old(place)))


@CONVOLUTIONS.register("groups_2", same_as=(), remake=_groups(2))
def groups_2(place: Place) -> nn.Module:
    """2 groups, of which none sees the other's channels (Krizhevsky et al. 2012, doi:10.1145/3065386)."""
    return _layer(_groups(2)(_old(place)))


@CONVOLUTIONS.register("groups_4", same_as=(), remake=_groups(4))
def groups_4(place: Place) -> nn.Module:
    """4 groups."""
    return _layer(_groups(4)(_old(place)))


@CONVOLUTIONS.register("groups_8", same_as=(), remake=_groups(8))
def groups_8(place: Place) -> nn.Module:
    """8 groups (Xie et al. 2016, arXiv:1611.05431: the ResNeXt's "cardinality")."""
    return _layer(_groups(8)(_old(place)))


@CONVOLUTIONS.register("depthwise_separable", same_as=())
def depthwise_separable(place: Place) -> nn.Module:
    """The old window for each channel by itself, then a 1×1 convolution over all channels (Howard et al. 2017,
    arXiv:1704.04861, section 3.1). Nothing stands between the two, which Chollet (2016, arXiv:1610.02357, section 4.7)
    found better than an activation; a norm and an activation come behind both where they came behind the old one."""
    old = _old(place)
    if is_depthwise(old):
        raise Unsuitable("it is depthwise already; choose kernel_5 or dilation_2")
    filters = replace(old, out_channels=old.in_channels, groups=old.in_channels, bias=False)
    mixer = nn.Conv2d(old.in_channels, old.out_channels, kernel_size=1, bias=old.bias)
    return nn.Sequential(OrderedDict(depthwise=_layer(filters), pointwise=mixer))


@CONVOLUTIONS.register("reflect_padding", same_as=(), remake=_reflecting)
def reflect_padding(place: Place) -> nn.Module:
    """Padding that mirrors the map at its edge instead of zeros, of which the network could learn where the edge is
    (Islam et al. 2020, arXiv:2001.08248)."""
    new = _reflecting(_old(place))
    height, width = place.shape[2:]
    if new.padding[0] >= height or new.padding[1] >= width:
        pads = "×".join(map(str, new.padding))
        raise Unsuitable(
            f"a map of {height}×{width} can't be mirrored over {pads} pixels; choose kernel_3, or larger images"
        )
    return _layer(new)
