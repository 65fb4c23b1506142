"""Each pooling against its definition, window by window, and the laws of the stochastic one.

The statistical tests draw with fixed seeds; each would fail for a correct component in one of 10,000 seeds (ALPHA)."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from cnnbench.components import COMPONENTS
from cnnbench.components.kinds import Place, Unsuitable, Window

ALPHA = 1e-4
FEW = settings(deadline=None, derandomize=True, max_examples=40)


def window_pooling(value: str, window: Window, channels: int = 1) -> nn.Module:
    return COMPONENTS["window_pooling"][value].thing(Place((1, channels, 9, 9), 1, window)).double()


def global_pooling(value: str, height: int, width: int) -> nn.Module:
    return COMPONENTS["global_pooling"][value].thing(Place((1, 3, height, width)))


def starts(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> list[int]:
    """The windows along one side by their first pixel, counted from the map's edge."""
    reach = dilation * (kernel - 1) + 1
    found = [start for start in range(-padding, size + padding, stride) if start + reach <= size + padding]
    following = found[-1] + stride
    if ceil_mode and found[-1] + reach < size + padding and following < size:
        found.append(following)
    return found


def windows_of(x: np.ndarray, kernel, stride, padding, dilation, ceil_mode: bool) -> list[list[np.ndarray]]:
    """Row by row, the window at each output pixel: (N, C, kernel height, kernel width), nan for what is no pixel."""
    height, width = x.shape[2:]
    far = 20
    framed = np.pad(x, ((0, 0), (0, 0), (far, far), (far, far)), constant_values=np.nan)
    vertical, horizontal = (
        starts(size, kernel[i], stride[i], padding[i], dilation[i], ceil_mode) for i, size in enumerate((height, width))
    )
    offsets = [np.arange(kernel[i]) * dilation[i] for i in (0, 1)]
    return [
        [framed[:, :, far + top + offsets[0]][..., far + left + offsets[1]] for left in horizontal] for top in vertical
    ]


def pooled(x: np.ndarray, sizes: tuple, rule) -> np.ndarray:
    """(N, C, rows, columns) of ``rule``, which maps a window to (N, C)."""
    rows = windows_of(x, *sizes)
    return np.stack([np.stack([rule(window) for window in row], axis=-1) for row in rows], axis=-2)


def weighted(window: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean of the real pixels under weights that need not sum to one."""
    weights = np.where(np.isnan(window), 0, weights)
    return np.nansum(weights * window, (2, 3)) / weights.sum((2, 3))


def expected_activation(window: np.ndarray) -> np.ndarray:
    """Stochastic pooling in evaluation."""
    positive = np.nan_to_num(np.maximum(window, 0))
    none = positive.sum((2, 3), keepdims=True) == 0
    return weighted(window, np.where(none, 1.0, positive))


@st.composite
def cases(draw, dilations: tuple[int, ...] = (1,)):
    """A random map (2, 3, H, W) with negative and positive pixels, and a window for it."""
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = tuple(draw(st.integers(0, size // 2)) for size in kernel)
    dilation = draw(st.tuples(st.sampled_from(dilations), st.sampled_from(dilations)))
    ceil_mode = draw(st.booleans())
    size = draw(st.tuples(st.integers(3, 7), st.integers(3, 7)))
    assume(all(dilation[i] * (kernel[i] - 1) + 1 <= size[i] + 2 * padding[i] for i in (0, 1)))
    x = np.random.default_rng(draw(st.integers(0, 1000))).normal(size=(2, 3, *size))
    return x, (kernel, stride, padding, dilation, ceil_mode)


def window_from(sizes: tuple) -> Window:
    kernel, stride, padding, dilation, ceil_mode = sizes
    return Window(kernel, stride, padding, ceil_mode, dilation)


@FEW
@given(cases(dilations=(1, 2)))
def test_max_pooling_takes_each_windows_largest_pixel(case):
    x, sizes = case
    got = window_pooling("max", window_from(sizes))(torch.tensor(x)).numpy()
    assert np.array_equal(got, pooled(x, sizes, lambda window: np.nanmax(window, (2, 3))))


@FEW
@given(cases())
def test_average_pooling_takes_the_mean_of_the_real_pixels(case):
    x, sizes = case
    got = window_pooling("average", window_from(sizes))(torch.tensor(x)).numpy()
    assert np.allclose(got, pooled(x, sizes, lambda window: np.nanmean(window, (2, 3))))


@FEW
@given(cases())
def test_mixed_pooling_is_a_learned_mixture_of_max_and_average_over_all_channels(case):
    x, sizes = case
    pool = window_pooling("mixed", window_from(sizes), channels=3)
    largest = pooled(x, sizes, lambda window: np.nanmax(window, (2, 3)))
    mean = pooled(x, sizes, lambda window: np.nanmean(window, (2, 3)))
    assert np.allclose(pool(torch.tensor(x)).detach().numpy(), (largest + mean) / 2)  # as it starts
    (weight,) = pool.parameters()
    nn.init.normal_(weight)
    matrix = weight.detach().numpy()[:, :, 0, 0]
    expected = np.einsum("oc,nchw->nohw", matrix, np.concatenate([largest, mean], axis=1))
    assert np.allclose(pool(torch.tensor(x)).detach().numpy(), expected)


@FEW
@given(cases(dilations=(1, 2)))
def test_learnable_pooling_is_a_weighted_sum_of_the_window_that_starts_as_its_average(case):
    x, sizes = case
    pool = window_pooling("learnable", window_from(sizes), channels=3)
    started = pooled(x, sizes, lambda window: np.nan_to_num(window).mean((2, 3)))
    assert np.allclose(pool(torch.tensor(x)).detach().numpy(), started)
    (weight,) = pool.parameters()
    nn.init.normal_(weight)
    kernels = weight.detach().numpy()[:, 0]
    expected = pooled(x, sizes, lambda window: np.nansum(window * kernels, (2, 3)))
    assert np.allclose(pool(torch.tensor(x)).detach().numpy(), expected)


@FEW
@given(cases())
def test_attention_pooling_is_a_mean_under_a_softmax_of_each_pixels_score(case):
    x, sizes = case
    pool = window_pooling("attention", window_from(sizes), channels=3)
    (weight,) = pool.parameters()
    nn.init.normal_(weight)
    score = weight.detach().numpy()[0, :, 0, 0]

    def rule(window: np.ndarray) -> np.ndarray:
        return weighted(window, np.exp(np.einsum("c,ncij->nij", score, window))[:, None])

    assert np.allclose(pool(torch.tensor(x)).detach().numpy(), pooled(x, sizes, rule))


def test_attention_pooling_stays_finite_where_scores_lie_far_apart():
    pool = window_pooling("attention", Window(2, 2)).float()
    nn.init.ones_(pool.score.weight)
    x = torch.tensor([[[[-900.0, -901.0, 900.0, 0.0], [-900.0, -901.0, 0.0, 0.0]]]], requires_grad=True)
    outputs = pool(x)
    outputs.sum().backward()
    assert outputs.flatten().tolist() == [-900.5, 900.0]  # 1,800 below the largest score: the plain mean
    assert x.grad.isfinite().all()


@FEW
@given(cases())
def test_stochastic_pooling_in_evaluation_is_the_mean_weighted_by_the_positive_activations(case):
    x, sizes = case
    pool = window_pooling("stochastic", window_from(sizes)).eval()
    assert np.allclose(pool(torch.tensor(x)).numpy(), pooled(x, sizes, expected_activation))


@FEW
@given(cases(), st.sampled_from([torch.contiguous_format, torch.channels_last]))
def test_stochastic_pooling_in_training_takes_a_pixel_of_the_window_and_a_positive_one_where_there_is_one(case, layout):
    x, sizes = case
    maps = torch.tensor(x).contiguous(memory_format=layout)
    got = window_pooling("stochastic", window_from(sizes)).train()(maps).numpy()
    for row, windows in enumerate(windows_of(x, *sizes)):
        for column, window in enumerate(windows):
            output = got[:, :, row, column, None, None]
            assert (window == output).any((2, 3)).all()
            assert (((window > 0).any((2, 3))) == (output[..., 0, 0] > 0)).all()
    assert got.shape == pooled(x, sizes, expected_activation).shape


def draws(values: list[list[float]], window: Window, count: int) -> torch.Tensor:
    """(count, rows, columns) of stochastic pooling in training of one map, each draw in a row of the batch."""
    torch.manual_seed(0)
    pool = window_pooling("stochastic", window).float().train()
    return pool(torch.tensor(values).expand(count, 1, -1, -1))[:, 0]


@pytest.mark.parametrize(
    ("values", "probabilities"),
    [
        ([[1.0, 2.0], [3.0, 4.0]], [0.1, 0.2, 0.3, 0.4]),
        ([[1.0, 0.0], [-3.0, 7.0]], [0.125, 0.0, 0.0, 0.875]),
        ([[-1.0, -2.0], [-3.0, 0.0]], [0.25, 0.25, 0.25, 0.25]),
    ],
)
def test_pixels_are_drawn_in_proportion_to_their_activation(values: list[list[float]], probabilities: list[float]):
    count = 20_000
    drawn = draws(values, Window(2, 2), count).flatten()
    seen = np.array([(drawn == value).sum().item() for value in np.ravel(values)])
    possible = np.array(probabilities) > 0
    assert seen.sum() == count and not seen[~possible].any()
    expected = np.array(probabilities)[possible] * count
    assert stats.chisquare(seen[possible], expected).pvalue > ALPHA


def test_the_mean_of_many_draws_is_the_output_in_evaluation():
    values = [[1.0, 2.0, 0.5], [3.0, 4.0, -1.0], [0.0, 6.0, 2.0]]
    window = Window(kernel_size=2, stride=1)
    drawn = draws(values, window, 20_000)
    expected = window_pooling("stochastic", window).float().eval()(torch.tensor([[values]]))[0, 0]
    errors = (drawn.mean(0) - expected) / (drawn.std(0) / math.sqrt(len(drawn)))
    assert errors.abs().max() < stats.norm.isf(ALPHA / 2 / errors.numel())


def test_images_channels_and_overlapping_windows_draw_independently():
    torch.manual_seed(0)
    pool = window_pooling("stochastic", Window(kernel_size=2, stride=1)).float().train()
    image = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    drawn = pool(image.expand(20_000, 2, 2, 3))
    pairs = {
        "windows": (drawn[:, 0, 0, 0], drawn[:, 0, 0, 1]),
        "channels": (drawn[:, 0, 0, 0], drawn[:, 1, 0, 0]),
        "images": (drawn[:-1, 0, 0, 0], drawn[1:, 0, 0, 0]),
    }
    for first, second in pairs.values():
        table = stats.contingency.crosstab(first.numpy(), second.numpy()).count
        assert table.shape == (4, 4)
        assert stats.chi2_contingency(table).pvalue > ALPHA / len(pairs)


def test_the_gradient_goes_to_the_pixel_that_was_drawn():
    x = (torch.arange(16.0).view(1, 1, 4, 4) + 1).requires_grad_()
    outputs = window_pooling("stochastic", Window(2, 2)).float().train()(x)
    outputs.sum().backward()
    assert sorted(x[x.grad == 1].tolist()) == sorted(outputs.flatten().tolist())
    assert x.grad.sum() == 4


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_stochastic_pooling_does_not_hide_that_a_map_diverged(value: float):
    x = torch.ones(1, 1, 4, 4)
    x[0, 0, 0, 0] = value
    pooled = window_pooling("stochastic", Window(2, 2)).float().train()(x)
    assert pooled.isfinite().tolist() == [[[[False, True], [True, True]]]]


@pytest.mark.parametrize("value", ["average", "mixed", "stochastic", "attention"])
def test_a_dilated_window_is_refused_where_a_mean_is_taken(value: str):
    with pytest.raises(Unsuitable, match="dilated window can't be averaged; choose max or learnable"):
        window_pooling(value, Window(kernel_size=2, stride=2, dilation=2))


@pytest.mark.parametrize(
    ("value", "by_hand"), [("average", [3.0, 30.0]), ("max", [6.0, 60.0]), ("average_max", [4.5, 45.0])]
)
def test_global_pooling_gives_one_number_a_channel(value: str, by_hand: list[float]):
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]], [[10.0, 20.0], [30.0, 60.0]]]])
    assert global_pooling(value, 2, 2)(maps).tolist() == [[[[by_hand[0]]], [[by_hand[1]]]]]


@pytest.mark.parametrize("grid", [2, 4, 7])
@pytest.mark.parametrize("size", [(7, 7), (8, 8), (14, 9)])
def test_a_grids_cells_are_the_means_of_their_pixels(grid: int, size: tuple[int, int]):
    x = np.random.default_rng(0).normal(size=(2, 3, *size))
    expected = np.empty((2, 3, grid, grid))
    for row in range(grid):
        for column in range(grid):
            top, left = (index * side // grid for index, side in zip((row, column), size, strict=True))
            bottom, right = (-(-(index + 1) * side // grid) for index, side in zip((row, column), size, strict=True))
            expected[:, :, row, column] = x[:, :, top:bottom, left:right].mean((2, 3))
    pool = global_pooling(f"grid_{grid}", *size)
    assert np.allclose(pool(torch.tensor(x)).numpy(), expected)
    assert pool.cells == grid * grid


def test_flattening_hands_on_every_pixel():
    pool = global_pooling("flatten", 4, 5)
    x = torch.randn(2, 3, 4, 5)
    assert torch.equal(pool(x), x)
    assert pool.cells == 20


def test_a_map_smaller_than_the_grid_is_refused():
    assert global_pooling("grid_4", 4, 4).cells == 16
    with pytest.raises(Unsuitable, match=r"a map of 4×3 is smaller than a grid of 4×4; choose a smaller grid"):
        global_pooling("grid_4", 4, 3)
