"""What holds for every component: shapes, gradients, layouts, number formats, copies; and how values are checked."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cnnbench.components import COMPONENTS, ComponentError, allowed, check, swap
from cnnbench.components.kinds import Place, Unsuitable, Window

WINDOW = Window(kernel_size=3, stride=2, padding=1, ceil_mode=True)
LAYERS = ("activation", "window_pooling", "global_pooling", "normalization")
ALL = [(kind, value) for kind in LAYERS for value in COMPONENTS[kind]]
LEARNED = [("activation", "prelu"), ("activation", "swish"), ("activation", "frelu")]
LEARNED += [("window_pooling", value) for value in ("mixed", "learnable", "attention")]
LEARNED += [("normalization", value) for value in ("batch", "layer", "layer_chw", "instance", "switchable")]
LEARNED += [("normalization", value) for value in ("group", "group_8", "group_32")]
KEEP_SHAPE = [(kind, value) for kind, value in ALL if kind in ("activation", "normalization")]


def make(kind: str, value: str, shape: tuple[int, ...], channel_dim: int = 1) -> nn.Module:
    window = WINDOW if kind == "window_pooling" else None
    return COMPONENTS[kind][value].thing(Place(shape, channel_dim, window))


def spaced(*shape: int) -> torch.Tensor:
    """Random float64 numbers between -4 and 4, none near another, near 0 or near ±3: no kink within reach."""
    count = torch.Size(shape).numel()
    generator = torch.Generator().manual_seed(0)
    return ((torch.randperm(count, generator=generator).double() + 0.5) / count * 8 - 4).view(shape)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("kind", "value"), ALL)
def test_every_gradient_is_the_derivative(kind: str, value: str, training: bool):
    needs_more = value in ("group_8", "group_32", "grid_7")
    shape = (2, 32, 8, 8) if needs_more else (2, 4, 4, 4)
    component = make(kind, value, shape).double().train(training)
    inputs = spaced(*shape).requires_grad_()

    def function(*_: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)  # the stochastic one draws the same pixels again
        return component(inputs)

    assert torch.autograd.gradcheck(function, (inputs, *component.parameters()), fast_mode=needs_more)


@pytest.mark.parametrize(("kind", "value"), ALL)
def test_every_learned_parameter_gets_a_gradient(kind: str, value: str):
    component = make(kind, value, (4, 32, 8, 8))
    inputs = torch.randn(4, 32, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (component(inputs) ** 3).sum().backward()
    gradients = [parameter.grad.abs().sum() for parameter in component.parameters()]
    assert gradients or (kind, value) not in LEARNED
    assert all(gradient > 0 for gradient in gradients)


@pytest.mark.parametrize(("kind", "value"), ALL)
def test_every_component_keeps_its_results_in_another_memory_layout(kind: str, value: str):
    inputs = torch.randn(2, 32, 8, 8, generator=torch.Generator().manual_seed(0))
    # what is drawn in training follows the order in memory, as with dropout
    for training in (False,) if value == "stochastic" else (False, True):
        component = make(kind, value, (1, 32, 8, 8)).train(training)
        last = copy.deepcopy(component).to(memory_format=torch.channels_last)
        torch.manual_seed(0)
        expected = component(inputs)
        torch.manual_seed(0)
        assert torch.allclose(last(inputs.contiguous(memory_format=torch.channels_last)), expected, atol=1e-5)


@pytest.mark.parametrize(("kind", "value"), ALL)
def test_every_component_takes_bf16_and_rounds_no_worse_than_it(kind: str, value: str):
    component = make(kind, value, (1, 32, 8, 8)).eval()  # drawing from rounded weights may draw another pixel
    inputs = torch.randn(2, 32, 8, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    expected = component(inputs.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = component(inputs.requires_grad_())
        outputs.float().sum().backward()
    # eight bits of mantissa: a rounding error of 1/256 a step, and a few steps
    assert torch.allclose(outputs.float(), expected, rtol=0.02, atol=0.02)
    assert inputs.grad.dtype == torch.bfloat16


@pytest.mark.parametrize(("kind", "value"), ALL)
def test_every_component_is_built_and_run_without_memory_on_the_meta_device(kind: str, value: str):
    with torch.device("meta"):
        component = make(kind, value, (1, 32, 8, 8))
        outputs = component(torch.empty(2, 32, 8, 8))
    assert outputs.is_meta
    assert outputs.shape == make(kind, value, (1, 32, 8, 8))(torch.randn(2, 32, 8, 8)).shape


@pytest.mark.parametrize(("kind", "value"), ALL)
def test_a_copy_and_a_state_dict_carry_all_of_it_and_nothing_is_shared(kind: str, value: str):
    component, other = (make(kind, value, (1, 32, 8, 8)) for _ in range(2))
    component(torch.randn(4, 32, 8, 8))  # moves running averages
    assert not {id(tensor) for tensor in component.parameters()} & {id(tensor) for tensor in other.parameters()}
    other.load_state_dict(component.state_dict())
    inputs = torch.randn(2, 32, 8, 8)
    expected = component.eval()(inputs)
    assert torch.equal(other.eval()(inputs), expected)
    assert torch.equal(copy.deepcopy(component)(inputs), expected)


@pytest.mark.parametrize(("kind", "value"), KEEP_SHAPE)
def test_activations_and_norms_compute_the_same_whether_channels_are_first_or_last(kind: str, value: str):
    first, last = make(kind, value, (1, 32, 4, 4)), make(kind, value, (1, 4, 4, 32), channel_dim=3)
    for target, source in zip(last.parameters(), first.parameters(), strict=True):
        target.data.copy_(source.data)
    images = torch.randn(2, 32, 4, 4)
    assert torch.allclose(first(images).movedim(1, -1), last(images.movedim(1, -1)), atol=1e-6)


@pytest.mark.parametrize(
    ("was", "kind", "value"),
    [
        (nn.LeakyReLU(0.2), "activation", "leaky_relu"),
        (nn.ELU(0.5), "activation", "elu"),
        (nn.GELU("tanh"), "activation", "gelu"),
        (nn.GELU(), "activation", "gelu_tanh"),
        (nn.SiLU(), "activation", "swish"),
        (nn.PReLU(), "activation", "prelu"),
        (nn.GroupNorm(2, 64), "normalization", "group"),
        (nn.GroupNorm(2, 64), "normalization", "group_8"),
        (nn.InstanceNorm2d(64), "normalization", "instance"),
        (nn.LayerNorm([64, 4, 4]), "normalization", "layer"),
    ],
)
def test_a_namesake_with_other_arguments_is_not_taken_for_the_component(was: nn.Module, kind: str, value: str):
    network = nn.Sequential(nn.Conv2d(3, 64, 1), was)
    swapped, report = swap(network, {kind: value}, (3, 4, 4))
    assert report.components[kind].how == "replaced"
    assert repr(swapped.get_submodule("1")) == repr(make(kind, value, (1, 64, 4, 4)))


@pytest.mark.parametrize(
    ("call", "value", "how"),
    [
        (lambda x: F.leaky_relu(x, 0.2), "leaky_relu", "replaced"),
        (lambda x: F.leaky_relu(x, negative_slope=0.01), "leaky_relu", "kept"),
        (lambda x: F.leaky_relu(x), "leaky_relu", "kept"),
        (lambda x: F.gelu(x, approximate="tanh"), "gelu", "replaced"),
        (lambda x: F.gelu(x, approximate="tanh"), "gelu_tanh", "kept"),
        (lambda x: F.gelu(x), "gelu", "kept"),
    ],
)
def test_the_arguments_of_calls_count_too(call, value: str, how: str):
    class Calling(nn.Module):
        def forward(self, x):
            return call(x)

    assert swap(Calling(), {"activation": value}, (3, 4, 4))[1].components["activation"].how == how


@pytest.mark.parametrize("value", ["layer", "group", "group_8", "group_32", "layer_chw", "instance"])
def test_a_norm_that_would_always_give_zero_is_refused(value: str):
    place = Place((1, 32 if value == "group_32" else 8 if value == "group_8" else 1, 1, 1))
    with pytest.raises(Unsuitable, match=r"always zero; choose batch"):
        COMPONENTS["normalization"][value].thing(place)


@pytest.mark.parametrize("value", COMPONENTS["normalization"])
def test_a_norm_that_is_not_refused_gives_more_than_zero_on_single_pixels(value: str):
    """As those do that have the batch, or part of it, to compare with."""
    try:
        norm = COMPONENTS["normalization"][value].thing(Place((1, 1, 1, 1)))
    except Unsuitable:
        return
    assert norm(torch.randn(8, 1, 1, 1)).abs().max() > 0.1


def test_allowed_lists_names_or_a_range_in_words():
    grids = ("grid_2", "grid_4", "grid_7")
    assert allowed("global_pooling")[:7] == ("average", "max", "average_max", *grids, "flatten")
    assert allowed("dropout") == "number from 0 to 1"


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("activation", "rellu", "activation: unknown value 'rellu'; the nearest are relu, prelu, frelu"),
        ("dropout", 1.5, "dropout: 1.5 is not allowed; give a number from 0 to 1"),
        ("dropout", True, "dropout: True is not allowed"),
        ("dropout", float("nan"), "dropout: nan is not allowed"),
        ("dropout", "0.5", "dropout: '0.5' is not allowed"),
        ("pooling", "max", "unknown component 'pooling'; the nearest are window_pooling, global_pooling"),
    ],
)
def test_an_unknown_kind_or_value_is_refused_with_what_is_allowed(kind: str, value: object, message: str):
    with pytest.raises(ComponentError, match=message):
        check(kind, value)
