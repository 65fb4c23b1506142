"""Each component alone: its values by hand, and the places that it takes or refuses."""

import pytest
import torch
from torch import nn

from cnnbench.components import COMPONENTS, ComponentError, allowed, check
from cnnbench.components.kinds import Place, Unsuitable, Window
from cnnbench.components.normalization import groups_of

NCHW = Place((1, 32, 4, 4), 1)
NHWC = Place((1, 4, 4, 32), 3)


def make(kind: str, value: str, place: Place) -> nn.Module:
    return COMPONENTS[kind][value].thing(place)


@pytest.mark.parametrize("place", [NCHW, NHWC, Place((1, 32), 1), Place((1, 7, 32), 2)])
@pytest.mark.parametrize("value", COMPONENTS["activation"])
def test_every_activation_keeps_the_shape_of_any_layout(value: str, place: Place):
    assert make("activation", value, place)(torch.randn(place.shape)).shape == place.shape


@pytest.mark.parametrize("place", [NCHW, NHWC])
@pytest.mark.parametrize("value", COMPONENTS["normalization"])
def test_every_normalization_keeps_the_shape_of_any_layout(value: str, place: Place):
    assert make("normalization", value, place)(torch.randn(place.shape)).shape == place.shape


@pytest.mark.parametrize("value", COMPONENTS["normalization"])
def test_a_normalization_computes_the_same_whether_channels_are_first_or_last(value: str):
    images = torch.randn(2, 32, 4, 4)
    first, last = make("normalization", value, NCHW), make("normalization", value, NHWC)
    assert torch.allclose(first(images).movedim(1, -1), last(images.movedim(1, -1)), atol=1e-6)


def test_prelu_learns_one_slope_for_each_channel_where_channels_are_last():
    prelu = make("activation", "prelu", Place((1, 1, 1, 2), 3))
    (slopes,) = prelu.parameters()
    with torch.no_grad():
        slopes.copy_(torch.tensor([0.5, 0.0]))
    assert prelu(torch.tensor([[[[-2.0, -2.0]]]])).tolist() == [[[[-1.0, 0.0]]]]


def test_layer_normalization_is_over_the_channels_of_each_position():
    images = torch.tensor([[[[1.0, 10.0]], [[3.0, 30.0]]]])  # two channels, two positions
    normalized = make("normalization", "layer", Place((1, 2, 1, 2)))(images)
    assert torch.allclose(normalized, torch.tensor([[[[-1.0, -1.0]], [[1.0, 1.0]]]]), atol=1e-4)


@pytest.mark.parametrize(("channels", "groups"), [(8, 1), (16, 1), (32, 2), (58, 2), (64, 4), (116, 4), (512, 32)])
def test_groups_have_at_least_16_channels_each(channels: int, groups: int):
    assert groups_of(channels) == groups


def test_instance_normalization_refuses_a_map_of_one_position():
    with pytest.raises(Unsuitable, match=r"1×1 map.*choose batch"):
        make("normalization", "instance", Place((1, 8, 1, 1)))


WINDOW = Place((1, 1, 2, 2), 1, Window(kernel_size=2, stride=2))
IMAGE = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])


@pytest.mark.parametrize(("value", "pooled"), [("max", 6.0), ("average", 3.0), ("mixed", 4.5)])
def test_window_poolings_by_hand(value: str, pooled: float):
    assert make("window_pooling", value, WINDOW)(IMAGE).tolist() == [[[[pooled]]]]


@pytest.mark.parametrize(("value", "pooled"), [("max", 6.0), ("average", 3.0), ("average_max", 4.5)])
def test_global_poolings_by_hand(value: str, pooled: float):
    assert make("global_pooling", value, Place((1, 1, 2, 2)))(IMAGE).tolist() == [[[[pooled]]]]


@pytest.mark.parametrize("value", COMPONENTS["window_pooling"])
def test_every_window_pooling_leaves_the_same_size(value: str):
    place = Place((1, 3, 9, 9), 1, Window(kernel_size=3, stride=2, padding=1, ceil_mode=True))
    assert make("window_pooling", value, place)(torch.randn(1, 3, 9, 9)).shape == (1, 3, 5, 5)


def test_average_pooling_does_not_count_padding():
    pool = make("window_pooling", "average", Place((1, 1, 2, 2), 1, Window(kernel_size=3, stride=2, padding=1)))
    assert pool(torch.ones(1, 1, 2, 2)).tolist() == [[[[1.0]]]]


def test_average_pooling_refuses_a_dilated_window():
    with pytest.raises(Unsuitable, match="dilated"):
        make("window_pooling", "average", Place((1, 1, 9, 9), 1, Window(kernel_size=2, stride=2, dilation=2)))


def test_mixed_pooling_learns_its_mixture():
    mixed = make("window_pooling", "mixed", WINDOW)
    mixed(IMAGE).sum().backward()
    (weight,) = mixed.parameters()
    assert weight.grad.flatten().tolist() == [6.0, 3.0]


def test_allowed_lists_names_or_a_range_in_words():
    assert allowed("global_pooling") == ("average", "max", "average_max")
    assert allowed("dropout") == "number from 0 to 1"


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("activation", "rellu", "activation: unknown value 'rellu'; choose from relu, leaky_relu"),
        ("dropout", 1.5, "dropout: 1.5 is not allowed; give a number from 0 to 1"),
        ("dropout", True, "dropout: True is not allowed"),
        ("dropout", float("nan"), "dropout: nan is not allowed"),
        ("dropout", "0.5", "dropout: '0.5' is not allowed"),
        ("pooling", "max", "unknown component 'pooling'; choose from activation, window_pooling"),
    ],
)
def test_an_unknown_kind_or_value_is_refused_with_what_is_allowed(kind: str, value: object, message: str):
    with pytest.raises(ComponentError, match=message):
        check(kind, value)
