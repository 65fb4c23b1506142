"""Each normalisation against its definition, written out in numpy, in training and in evaluation."""

import numpy as np
import pytest
import torch
from torch import nn

from cnnbench.components import COMPONENTS
from cnnbench.components.graph import normalizes
from cnnbench.components.kinds import Place, Unsuitable
from cnnbench.components.normalization import groups_of
from cnnbench.components.trace import trace
from cnnbench.registry import Entry

EPS = 1e-5
RNG = np.random.default_rng(0)
SCALE, SHIFT = RNG.uniform(0.5, 1.5, 32), RNG.normal(size=32)


def make(value: str, shape: tuple[int, ...] = (1, 32, 3, 5), channel_dim: int = 1) -> nn.Module:
    return COMPONENTS["normalization"][value].thing(Place(shape, channel_dim)).double()


def with_affine(norm: nn.Module) -> nn.Module:
    """The norm with SCALE and SHIFT in place of ones and zeros."""
    for name, parameter in norm.named_parameters():
        if name.split(".")[-1] in ("weight", "bias"):
            parameter.data = torch.tensor(SCALE if name.endswith("weight") else SHIFT)
    return norm


def apply_affine(x: np.ndarray) -> np.ndarray:
    return x * SCALE[:, None, None] + SHIFT[:, None, None]


def standardised(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + EPS)


def in_groups(x: np.ndarray, groups: int) -> np.ndarray:
    return np.concatenate([standardised(part, (1, 2, 3)) for part in np.split(x, groups, axis=1)], axis=1)


OF_ONE_IMAGE = {
    "layer": lambda x: standardised(x, (1,)),
    "layer_chw": lambda x: standardised(x, (1, 2, 3)),
    "instance": lambda x: standardised(x, (2, 3)),
    "group": lambda x: in_groups(x, 2),  # 32 channels, at least 16 in each
    "group_8": lambda x: in_groups(x, 8),
    "group_32": lambda x: in_groups(x, 32),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("value", OF_ONE_IMAGE)
def test_norms_of_single_images_are_their_definition(value: str, training: bool):
    x = RNG.normal(2, 3, size=(2, 32, 3, 5))
    norm = with_affine(make(value)).train(training)
    assert np.allclose(norm(torch.tensor(x)).detach().numpy(), apply_affine(OF_ONE_IMAGE[value](x)))


def test_batch_normalization_uses_the_batch_in_training_and_running_averages_in_evaluation():
    first, second, third = RNG.normal(2, 3, size=(3, 4, 32, 3, 5))
    norm = with_affine(make("batch"))
    assert np.allclose(norm(torch.tensor(first)).detach().numpy(), apply_affine(standardised(first, (0, 2, 3))))
    norm(torch.tensor(second))
    mean, var = np.zeros(32), np.ones(32)
    for batch in (first, second):
        mean = 0.9 * mean + 0.1 * batch.mean((0, 2, 3))
        var = 0.9 * var + 0.1 * batch.var((0, 2, 3), ddof=1)
    expected = (third - mean[:, None, None]) / np.sqrt(var[:, None, None] + EPS)
    assert np.allclose(norm.eval()(torch.tensor(third)).detach().numpy(), apply_affine(expected))


def test_no_normalization_gives_the_maps_as_they_are():
    x = torch.randn(2, 32, 3, 5)
    assert make("none")(x) is x


MEAN_LOGITS, VAR_LOGITS = np.array([0.3, -1.0, 0.5]), np.array([-0.2, 0.1, 1.0])


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum()


def switched(x: np.ndarray, batch_mean: np.ndarray, batch_var: np.ndarray) -> np.ndarray:
    """The paper's equation 3: each statistic straight from the maps."""
    means = x.mean((2, 3), keepdims=True), x.mean((1, 2, 3), keepdims=True), batch_mean
    variances = x.var((2, 3), keepdims=True), x.var((1, 2, 3), keepdims=True), batch_var
    mean = sum(weight * part for weight, part in zip(softmax(MEAN_LOGITS), means, strict=True))
    var = sum(weight * part for weight, part in zip(softmax(VAR_LOGITS), variances, strict=True))
    return apply_affine((x - mean) / np.sqrt(var + EPS))


@pytest.mark.parametrize("channel_dim", [1, 3])
def test_switchable_normalization_mixes_instance_layer_and_batch_in_training_and_in_evaluation(channel_dim: int):
    first, second, third = RNG.normal(2, 3, size=(3, 4, 32, 3, 5))
    norm = with_affine(make("switchable", (1, 32, 3, 5) if channel_dim == 1 else (1, 3, 5, 32), channel_dim))
    parameters = {name.removeprefix("inner."): parameter for name, parameter in norm.named_parameters()}
    assert parameters["mean_weight"].tolist() == parameters["var_weight"].tolist() == [1.0] * 3
    parameters["mean_weight"].data = torch.tensor(MEAN_LOGITS)
    parameters["var_weight"].data = torch.tensor(VAR_LOGITS)

    def apply(x: np.ndarray) -> np.ndarray:
        given = torch.tensor(x if channel_dim == 1 else np.moveaxis(x, 1, -1))
        got = norm(given).detach().numpy()
        return got if channel_dim == 1 else np.moveaxis(got, -1, 1)

    mean, var = np.zeros((1, 32, 1, 1)), np.ones((1, 32, 1, 1))
    for batch in (first, second):
        batch_mean, batch_var = batch.mean((0, 2, 3), keepdims=True), batch.var((0, 2, 3), keepdims=True)
        assert np.allclose(apply(batch), switched(batch, batch_mean, batch_var))
        mean, var = 0.9 * mean + 0.1 * batch_mean, 0.9 * var + 0.1 * batch_var
    norm.eval()
    assert np.allclose(apply(third), switched(third, mean, var))
    assert np.allclose(apply(third[:1]), switched(third, mean, var)[:1])  # no image depends on another


def test_a_norm_is_known_as_one_from_whatever_file_it_comes(monkeypatch):
    class Centred(nn.Module):
        def forward(self, x):
            return x - x.mean((2, 3), keepdim=True)

    def knows() -> list[bool]:
        traced = trace(nn.Sequential(nn.Conv2d(3, 4, 3), Centred(), nn.Identity()), (3, 8, 8))
        return [normalizes(traced, node) for node in traced.graph.nodes if node.op == "call_module"]

    monkeypatch.setattr(Centred, "__module__", "cnnbench.components.centred")  # a trace does not open those
    assert knows() == [False, False, False]
    entry = Entry("centred", lambda place: Centred(), {"same_as": (Centred,)})
    monkeypatch.setitem(COMPONENTS["normalization"]._entries, "centred", entry)
    assert knows() == [False, True, False]


def test_switchable_normalization_stays_finite_where_a_map_is_constant():
    norm = make("switchable").float()
    x = torch.full((2, 32, 3, 5), 1000.1, requires_grad=True)
    outputs = norm(x)
    outputs.sum().backward()
    assert outputs.isfinite().all() and x.grad.isfinite().all()


@pytest.mark.parametrize("value", ["prelu", "swish", *COMPONENTS["normalization"]])
def test_weight_decay_spares_slopes_scales_shifts_and_mixtures(value: str):
    kind = "activation" if value in COMPONENTS["activation"] else "normalization"
    component = COMPONENTS[kind][value].thing(Place((1, 32, 3, 5)))
    assert all(parameter.ndim == 1 for parameter in component.parameters())  # the optimizer's rule


@pytest.mark.parametrize(("channels", "groups"), [(8, 1), (16, 1), (32, 2), (58, 2), (64, 4), (116, 4), (512, 32)])
def test_groups_have_at_least_16_channels_each(channels: int, groups: int):
    assert groups_of(channels) == groups


def test_a_number_of_groups_that_does_not_divide_the_channels_is_refused_with_those_that_do():
    with pytest.raises(
        Unsuitable, match="20 channels don't make 8 equal groups, only 1, 2, 4, 5, 10, 20; choose group"
    ):
        make("group_8", (1, 20, 3, 5))


def test_instance_normalization_refuses_a_map_of_one_position():
    with pytest.raises(Unsuitable, match=r"1×1 map.*choose batch"):
        make("instance", (1, 8, 1, 1))
