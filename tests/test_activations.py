"""Each activation against its definition, written out in numpy."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from cnnbench.components import COMPONENTS
from cnnbench.components.kinds import Place, Unsuitable

PHI = np.vectorize(lambda x: 0.5 * (1 + math.erf(x / math.sqrt(2))))
DEFINITIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.where(x > 0, x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "mish": lambda x: x * np.tanh(np.log(1 + np.exp(x))),
    "gelu": lambda x: x * PHI(x),
    "gelu_tanh": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "relu6": lambda x: np.clip(x, 0, 6),
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "tanh": lambda x: (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x)),
}
RNG = np.random.default_rng(0)


def make(value: str, shape: tuple[int, ...], channel_dim: int = 1) -> nn.Module:
    return COMPONENTS["activation"][value].thing(Place(shape, channel_dim)).double()


@pytest.mark.parametrize("value", DEFINITIONS)
def test_the_activation_is_its_definition(value: str):
    x = np.linspace(-8, 8, 2 * 4 * 5 * 5).reshape(2, 4, 5, 5)
    activation = make(value, x.shape)
    assert not list(activation.parameters())
    for training in (True, False):
        assert np.allclose(activation.train(training)(torch.tensor(x)).numpy(), DEFINITIONS[value](x), atol=1e-12)


@pytest.mark.parametrize("value", [value for value in COMPONENTS["activation"] if value != "frelu"])
@pytest.mark.parametrize("shape", [(3, 8), (3, 7, 8)])
def test_vectors_and_sequences_of_tokens_are_activated_too(value: str, shape: tuple[int, ...]):
    activation = make(value, shape, len(shape) - 1)
    x = torch.randn(shape, dtype=torch.float64)
    assert torch.allclose(activation(x)[1, ..., 5], activation(x[1:2])[0, ..., 5])
    assert activation(x).shape == shape


def test_prelu_has_one_slope_a_channel_for_what_is_below_zero():
    prelu = make("prelu", (1, 2, 1, 2))
    (slopes,) = prelu.parameters()
    assert slopes.tolist() == [0.25, 0.25]
    slopes.data = torch.tensor([0.5, -1.0], dtype=torch.float64)
    x = torch.tensor([[[[-2.0, 4.0]], [[-2.0, 4.0]]]], dtype=torch.float64)
    assert prelu(x).tolist() == [[[[-1.0, 4.0]], [[2.0, 4.0]]]]


@pytest.mark.parametrize(("shape", "channel_dim"), [((1, 2, 1, 1), 1), ((1, 1, 1, 2), 3), ((1, 2), 1), ((1, 5, 2), 2)])
def test_swish_is_x_times_the_sigmoid_of_beta_x_with_one_beta_a_channel(shape: tuple[int, ...], channel_dim: int):
    swish = make("swish", shape, channel_dim)
    (beta,) = swish.parameters()
    assert beta.tolist() == [1.0, 1.0]
    betas = np.array([0.5, -2.0])
    beta.data = torch.tensor(betas)
    x = RNG.normal(size=(3, *shape[1:]))
    expected = np.moveaxis(x, channel_dim, -1)
    expected = expected / (1 + np.exp(-betas * expected))
    assert np.allclose(swish(torch.tensor(x)).detach().numpy(), np.moveaxis(expected, -1, channel_dim))


def test_swish_starts_as_silu_and_has_half_of_x_and_relu_as_its_limits():
    swish = make("swish", (1, 1))
    x = torch.linspace(-5, 5, 11, dtype=torch.float64)[:, None]
    assert torch.allclose(swish(x), nn.functional.silu(x), rtol=0, atol=1e-15)
    swish.beta.data.fill_(0.0)
    assert torch.equal(swish(x), x / 2)
    swish.beta.data.fill_(1e6)
    assert torch.equal(swish(x), x.relu())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("channel_dim", [1, 3])
def test_frelu_is_the_larger_of_a_pixel_and_its_normalised_neighbourhood(channel_dim: int, training: bool):
    x = RNG.normal(size=(2, 3, 4, 5))
    shape = x.shape if channel_dim == 1 else np.moveaxis(x, 1, -1).shape
    frelu = make("frelu", shape, channel_dim).train(training)
    state = {name.removeprefix("inner."): tensor for name, tensor in frelu.state_dict().items()}
    for name in ("norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"):
        state[name].copy_(torch.tensor(RNG.uniform(0.5, 1.5, size=3)))
    kernel = state["conv.weight"].numpy()
    assert kernel.shape == (3, 1, 3, 3) and "conv.bias" not in state
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    neighbourhood = np.zeros_like(x)
    for channel in range(3):
        for row in range(4):
            for column in range(5):
                patch = padded[:, channel, row : row + 3, column : column + 3]
                neighbourhood[:, channel, row, column] = (patch * kernel[channel, 0]).sum((1, 2))
    mean, var = neighbourhood.mean((0, 2, 3)), neighbourhood.var((0, 2, 3))
    if not training:
        mean, var = state["norm.running_mean"].numpy(), state["norm.running_var"].numpy()
    scale, shift = state["norm.weight"].numpy(), state["norm.bias"].numpy()
    by_channel = (slice(None), None, None)
    normalised = (neighbourhood - mean[by_channel]) / np.sqrt(var[by_channel] + 1e-5)
    expected = np.maximum(x, normalised * scale[by_channel] + shift[by_channel])
    given = torch.tensor(x) if channel_dim == 1 else torch.tensor(np.moveaxis(x, 1, -1))
    got = frelu(given).detach().numpy()
    assert np.allclose(got if channel_dim == 1 else np.moveaxis(got, -1, 1), expected)


@pytest.mark.parametrize(("shape", "there"), [((1, 8), "a vector"), ((1, 7, 8), "a sequence of tokens")])
def test_frelu_is_refused_where_there_are_no_neighbours(shape: tuple[int, ...], there: str):
    with pytest.raises(Unsuitable, match=f"{there} has none; choose prelu or swish"):
        make("frelu", shape, len(shape) - 1)
