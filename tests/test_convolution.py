"""Convolutions as a component: against nested loops, the papers' counts, and which sites each value takes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from cnnbench.components import COMPONENTS, ComponentError, count_sites, swap
from cnnbench.components.kinds import Convolution, Place, Unsuitable
from cnnbench.components.trace import trace
from cnnbench.networks.build import build
from cnnbench.networks.cost import measure
from cnnbench.networks.description import describe
from cnnbench.networks.spec import NetworkSpec
from nested_loops import convolve

CONVOLUTIONS = COMPONENTS["convolution"]
ONE_LAYER = (
    *("kernel_3", "kernel_5", "kernel_7", "pointwise", "dilation_2"),
    *("groups_2", "groups_4", "groups_8", "reflect_padding"),
)
OLD = Convolution(8, 16, (3, 3), (1, 1), (1, 1))
IMAGE = (3, 12, 12)
COMPARED = ("in_channels", "out_channels", "kernel_size", "stride", "dilation", "groups", "padding_mode")
FEW = settings(deadline=None, derandomize=True, max_examples=30)


def make(value: str, old: Convolution = OLD, size: tuple[int, int] = (9, 9)) -> nn.Module:
    return CONVOLUTIONS[value].thing(Place((1, old.in_channels, *size), convolution=old))


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Convolution, tuple[int, int]]:
    """A convolution of odd kernel, and the size of a map that it takes."""
    groups = draw(st.sampled_from((1, 2)))
    pair = lambda *among: tuple(draw(st.sampled_from(among)) for _ in (0, 1))  # noqa: E731
    old = Convolution(
        *(8 * groups, 8, pair(1, 3, 5), pair(1, 2, 3), pair(0, 1, 2), pair(1, 2), groups, draw(st.booleans()))
    )
    return old, pair(5, 6, 7, 9)


def expected(value: str, old: Convolution) -> Convolution:
    """What ``value`` should make of ``old``, written out from its definition; its padding is not looked at."""
    sides = lambda number: tuple(1 if side == 1 else number for side in old.kernel_size)  # noqa: E731
    name, _, number = value.rpartition("_")
    if value == "pointwise":
        return replace(old, kernel_size=(1, 1), dilation=(1, 1))
    changes = {"kernel": ("kernel_size", sides), "dilation": ("dilation", sides), "groups": ("groups", int)}
    if name not in changes:
        return replace(old, padding_mode="reflect" if any(old.padding) else "zeros")
    field, change = changes[name]
    return replace(old, **{field: change(int(number))})


def by_loops(x: np.ndarray, conv: nn.Conv2d, rows: int, columns: int) -> np.ndarray:
    """``conv`` of x by nested loops, with as much padding as gives maps of rows × columns."""
    (down, across), (height, width) = conv.padding, x.shape[2:]
    padded = np.pad(
        x, ((0, 0), (0, 0), (down, down), (across, across)), "reflect" if conv.padding_mode != "zeros" else "constant"
    )
    bias = np.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach().numpy()
    weight = conv.weight.detach().numpy()
    result = convolve(padded, weight, bias, conv.stride, (0, 0), conv.dilation, conv.groups)
    assert result.shape[2:] == (rows, columns) and padded.shape[2:] == (height + 2 * down, width + 2 * across)
    return result


@pytest.mark.parametrize("value", ONE_LAYER)
@FEW
@given(given_=convolutions(), seed=st.integers(0, 1000))
def test_each_value_is_the_nested_loops_of_its_definition_and_keeps_the_size_of_the_maps(value, given_, seed):
    old, size = given_
    torch.manual_seed(seed)
    before = nn.Conv2d(**vars(old)).double()
    x = torch.randn(1, old.in_channels, *size, dtype=torch.float64)
    spans = [old.dilation[side] * (old.kernel_size[side] - 1) + 1 for side in (0, 1)]
    assume(all(spans[side] <= size[side] + 2 * old.padding[side] for side in (0, 1)))
    rows, columns = before(x).shape[2:]
    try:
        new = make(value, old, size).double()
    except Unsuitable as error:
        assert "too little padding" in str(error) or "mirrored" in str(error)
        return
    assert [getattr(new, name) for name in COMPARED] == [getattr(expected(value, old), name) for name in COMPARED]
    assert (new.bias is None) == (before.bias is None)
    assert np.allclose(new(x).detach().numpy(), by_loops(x.numpy(), new, rows, columns))


@pytest.mark.parametrize("value", [value for value in ONE_LAYER if not value.startswith("groups")])
@FEW
@given(given_=convolutions())
def test_the_windows_centres_stay_where_they_were(value, given_):
    """With kernels that are 1 at their centre and 0 elsewhere, old and new pick the same pixels."""
    old, size = given_
    old = replace(old, bias=False)
    try:
        layers = [nn.Conv2d(**vars(old)), make(value, old, size)]
    except Unsuitable:
        return
    for layer in layers:
        height, width = layer.kernel_size
        nn.init.zeros_(layer.weight)
        nn.init.ones_(layer.weight[:, :, height // 2, width // 2])
    x = torch.randn(1, old.in_channels, *size)
    spans = [old.dilation[side] * (old.kernel_size[side] - 1) + 1 for side in (0, 1)]
    assume(all(spans[side] <= size[side] + 2 * old.padding[side] for side in (0, 1)))
    before, after = (layer(x) for layer in layers)
    if value == "reflect_padding":  # a window centred on the padding sees a mirrored pixel there, and no zero
        seen = before.ne(0)
        before, after = before[seen], after[seen]
    assert torch.allclose(after, before, atol=1e-6)


@FEW
@given(given_=convolutions(), seed=st.integers(0, 1000))
def test_depthwise_separable_is_one_kernel_a_channel_and_then_sums_over_the_channels(given_, seed):
    old, size = given_
    spans = [old.dilation[side] * (old.kernel_size[side] - 1) + 1 for side in (0, 1)]
    assume(all(spans[side] <= size[side] + 2 * old.padding[side] for side in (0, 1)))
    torch.manual_seed(seed)
    new = make("depthwise_separable", old, size).double()
    x = torch.randn(1, old.in_channels, *size, dtype=torch.float64)
    kernels, mix = new.depthwise.weight.detach().numpy(), new.pointwise.weight.detach().numpy()
    assert kernels.shape == (old.in_channels, 1, *old.kernel_size) and new.depthwise.bias is None
    full = (
        mix[:, :, 0, 0][:, :, None, None] * kernels[None, :, 0]
    )  # filter k sees channel c by c's kernel, k's weight times
    bias = new.pointwise.bias.detach().numpy() if old.bias else np.zeros(old.out_channels)
    result = convolve(x.numpy(), full, bias, old.stride, old.padding, old.dilation, 1)
    assert np.allclose(new(x).detach().numpy(), result)
    assert new(x).shape == nn.Conv2d(**vars(old)).double()(x).shape


def test_depthwise_separable_costs_the_papers_share():
    """Howard et al. 2017, section 3.1: 1/N + 1/D² of the full convolution's multiply-accumulates."""
    full, separable = (measure(layer, (32, 14, 14)).macs for layer in (
        nn.Conv2d(32, 64, 3, padding=1), make("depthwise_separable", Convolution(32, 64, (3, 3), (1, 1), (1, 1))),
    ))  # fmt: skip
    assert separable / full == pytest.approx(1 / 64 + 1 / 9)


@pytest.mark.parametrize(
    ("value", "share"),
    [("kernel_5", 25 / 9), ("kernel_7", 49 / 9), ("pointwise", 1 / 9), ("dilation_2", 1), ("groups_2", 1 / 2),
     ("groups_4", 1 / 4), ("groups_8", 1 / 8), ("reflect_padding", 1)],
)  # fmt: skip
def test_weights_and_macs_change_as_the_arguments_say(value: str, share: float):
    old, new = nn.Conv2d(8, 16, 3, padding=1), make(value)
    assert new.weight.numel() / old.weight.numel() == share
    assert measure(new, (8, 9, 9)).macs / measure(old, (8, 9, 9)).macs == share


@pytest.mark.parametrize(("value", "field"), [("kernel_5", 7), ("dilation_2", 7), ("pointwise", 3), ("groups_2", 5)])
def test_the_receptive_field_grows_with_the_span(value: str, field: int):
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1))
    swapped, _ = swap(network, {"convolution": value}, IMAGE)
    assert describe(swapped, IMAGE).layers[-1].field.size == (field, field)


@pytest.mark.parametrize("value", [*CONVOLUTIONS])
def test_every_gradient_is_the_derivative(value: str):
    torch.manual_seed(0)
    layer = make(value, replace(OLD, stride=(2, 1)), (4, 4)).double()
    inputs = torch.randn(1, 8, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *_: layer(inputs), (inputs, *layer.parameters()), fast_mode=True)


# ---------------------------------------------------------------- in a network


class Network(nn.Module):
    """A stem, a 1×7 and a 3×3 convolution with and without a norm, a 1×1 one, a gate, patches."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 5, padding=2)
        self.wide = nn.Conv2d(8, 8, (1, 7), padding=(0, 3), bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.down = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.mix = nn.Conv2d(16, 16, 1)
        self.gate = nn.Conv2d(16, 16, 3, padding=1)
        self.patches = nn.Conv2d(16, 16, 2, stride=2)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        x = torch.relu(self.norm(self.wide(self.stem(x))))
        x = self.mix(torch.relu(self.down(x)))
        x = x * torch.sigmoid(self.gate(x))
        return self.fc(self.patches(x).mean([2, 3]))


def test_sites_are_what_overlaps_but_the_first_and_gates():
    _, report = swap(Network(), {"convolution": "kernel_3"}, IMAGE)
    assert report.components["convolution"].names == ("wide", "down")
    assert report.components["convolution"].how == "replaced"


def test_a_kernels_side_of_1_stays_and_its_stride_too():
    swapped, _ = swap(Network(), {"convolution": "kernel_5"}, IMAGE)
    assert (swapped.wide.kernel_size, swapped.wide.padding) == ((1, 5), (0, 2))
    assert (swapped.down.kernel_size, swapped.down.padding, swapped.down.stride) == ((5, 5), (2, 2), (2, 2))


@pytest.mark.parametrize("value", ["kernel_3", "groups_2", "dilation_2", "reflect_padding", "depthwise_separable"])
def test_what_is_there_already_stays_to_the_bit(value: str):
    once, _ = swap(Network(), {"convolution": value}, IMAGE)
    twice, report = swap(once, {"convolution": value}, IMAGE)
    assert report.components["convolution"].how == "kept"
    images = torch.randn(2, *IMAGE)
    assert torch.equal(twice.eval()(images), once.eval()(images))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    ("old", "value", "reason"),
    [
        (nn.Conv2d(6, 6, 3, padding=1), "groups_4", "6 channels don't make 4 equal groups; choose"),
        (nn.Conv2d(6, 6, 3, padding=1, groups=6), "groups_2", "it is depthwise: it has a group for each channel"),
        (nn.Conv2d(6, 6, 3, padding=1, groups=6), "depthwise_separable", "it is depthwise already; choose kernel_5"),
        (nn.Conv2d(6, 6, 3, padding=1, groups=6), "pointwise", "1×1 it would only scale its channels; choose"),
        (nn.Conv2d(6, 6, 5), "kernel_3", "a kernel of 5×5 with too little padding: a smaller one would make its maps"),
        (nn.Conv2d(6, 6, 4, padding=1), "kernel_5", "beside a kernel of 4×4 its padding would differ"),
        (nn.Conv2d(6, 6, 4, padding="same"), "groups_2", "its maps of 12×12 would become 11×11"),
        (nn.Conv2d(6, 6, 25, padding=12), "reflect_padding", "a map of 12×12 can't be mirrored over 12×12 pixels"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(old: nn.Conv2d, value: str, reason: str):
    network = nn.Sequential(nn.Conv2d(3, 6, 1), old)
    with pytest.raises(
        ComponentError, match=f"^tiny: convolution={value} reaches 0 of 1 sites; at 1: .*{reason}"
    ) as caught:
        swap(network, {"convolution": value}, IMAGE, name="tiny")
    assert "\n" not in str(caught.value)


def test_weights_that_two_calls_share_are_not_replaced():
    conv = nn.Conv2d(6, 6, 3, padding=1)
    with pytest.raises(ComponentError, match="called more than once, with the same weights"):
        swap(nn.Sequential(nn.Conv2d(3, 6, 1), conv, nn.ReLU(), conv), {"convolution": "kernel_5"}, IMAGE)


def test_same_padding_is_that_of_its_number():
    swapped, _ = swap(
        nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 5, padding="same")), {"convolution": "kernel_3"}, IMAGE
    )
    assert swapped.get_submodule("1").padding == (1, 1)


def test_without_convolutions_that_overlap_it_is_refused():
    with pytest.raises(
        ComponentError, match="convolution=kernel_5 reaches no site: it has no convolution whose windows"
    ):
        swap(nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 1)), {"convolution": "kernel_5"}, IMAGE)


@pytest.mark.parametrize("value", ["kernel_5", "depthwise_separable"])
def test_an_inserted_norm_takes_the_new_ones_bias_and_one_that_goes_gives_it_one(value: str):
    def last(network: nn.Module, name: str) -> nn.Conv2d:
        layer = network.get_submodule(name)
        return layer[-1] if isinstance(layer, nn.Sequential) else layer

    plain = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1), nn.Flatten(), nn.Linear(8 * 144, 5))
    swapped, _ = swap(plain, {"convolution": value, "normalization": "batch"}, IMAGE)
    assert last(swapped, "1").bias is None
    without, _ = swap(Network(), {"convolution": value, "normalization": "none"}, IMAGE)
    assert last(without, "wide").bias.tolist() == [0.0] * 8


@pytest.mark.parametrize("value", ["kernel_7", "groups_4", "depthwise_separable"])
def test_new_weights_are_pytorchs_own_unless_an_initialization_is_set(value: str):
    """Each at its own fan: 1/√fan_in is the bound; 2/fan_out the variance. The smallest layer has 2,304 weights or
    more, whose standard deviation has a standard error of at most 1.5 %."""
    network = nn.Sequential(
        nn.Conv2d(3, 256, 1), nn.Conv2d(256, 256, 3, padding=1), nn.Flatten(), nn.Linear(256 * 144, 5)
    )
    torch.manual_seed(0)
    for components in ({}, {"initialization": "kaiming_normal"}):
        swapped, report = swap(network, {"convolution": value, **components}, IMAGE)
        for layer in swapped.get_submodule("1").modules():
            if not isinstance(layer, nn.Conv2d):
                continue
            bound = 1 / math.sqrt(layer.weight[0].numel())
            fan_out = layer.weight[:, 0].numel() / layer.groups
            deviation = math.sqrt(2 / fan_out) if components else bound / math.sqrt(3)
            assert layer.weight.std().item() == pytest.approx(deviation, rel=0.1)
            assert bool(layer.weight.abs().max() <= bound) == (not components)
        assert "initialization" not in components or report.components["initialization"].sites == 3


@pytest.mark.parametrize("name", ["lenet5", "alexnet", "squeezenet1_1", "resnet20", "resnet18", "mobilenet_v1"])
def test_all_maps_keep_their_sizes_in_every_kind_of_network(name: str):
    options = {"classes": 5, "channels": 3, "image_size": 64, "stem": "imagenet" if name == "resnet18" else "small"}
    options |= {"depth": 0.25} if name.startswith("resnet") else {}
    image = (3, 64, 64)
    with torch.device("meta"):
        plain, _ = build(NetworkSpec(name, **options))
    before = shapes(plain, image)
    for value in ("kernel_7", "dilation_2"):
        swapped, report = swap(plain, {"convolution": value}, image)
        assert report.components["convolution"].sites == count_sites(plain, image)["convolution"] > 0
        assert shapes(swapped, image) == before


def shapes(network: nn.Module, image: tuple[int, int, int]) -> dict[str, tuple[int, ...]]:
    return {node.name: node.meta["shape"] for node in trace(network, image).graph.nodes if "shape" in node.meta}


def test_a_network_with_new_convolutions_trains_a_step():
    torch.manual_seed(0)
    network, report = build(
        NetworkSpec(
            "resnet20",
            classes=5,
            channels=3,
            image_size=16,
            depth=1 / 3,
            components={"convolution": "depthwise_separable"},
        )
    )
    assert report.components["convolution"].sites == 6
    network.train()(torch.randn(4, 3, 16, 16)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())
