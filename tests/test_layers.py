"""The layers that networks are made of against a convolution, a pooling and a normalisation written by hand: nested
loops over pixels, as one learns them, over random sizes, strides, paddings, dilations and groups."""

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from nested_loops import convolve, output_size

FEW = settings(deadline=None, derandomize=True, max_examples=40)


def pairs(low: int, high: int):
    return st.tuples(st.integers(low, high), st.integers(low, high))


@FEW
@given(
    size=pairs(1, 6), kernel=pairs(1, 3), stride=pairs(1, 3), padding=pairs(0, 2), dilation=pairs(1, 2),
    groups=st.integers(1, 3), channels=st.integers(1, 2), filters=st.integers(1, 2), seed=st.integers(0, 1000),
)  # fmt: skip
def test_convolution_is_the_nested_loops(size, kernel, stride, padding, dilation, groups, channels, filters, seed):
    assume(all(dilation[i] * (kernel[i] - 1) + 1 <= size[i] + 2 * padding[i] for i in (0, 1)))
    torch.manual_seed(seed)
    conv = nn.Conv2d(groups * channels, groups * filters, kernel, stride, padding, dilation, groups).double()
    x = torch.randn(2, groups * channels, *size, dtype=torch.float64)
    weight, bias = conv.weight.detach().numpy(), conv.bias.detach().numpy()
    expected = convolve(x.numpy(), weight, bias, stride, padding, dilation, groups)
    assert np.allclose(conv(x).detach().numpy(), expected)


def test_depthwise_and_1x1_convolution_together_are_the_sums_that_they_stand_for():
    torch.manual_seed(0)
    depthwise, pointwise = nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False), nn.Conv2d(3, 4, 1, bias=False)
    x = torch.randn(2, 3, 5, 5)
    with torch.no_grad():
        separable = pointwise(depthwise(x))
        # one full kernel: filter k sees channel c through c's own kernel, k's weight times
        full = np.einsum("kc,cij->kcij", pointwise.weight[:, :, 0, 0].numpy(), depthwise.weight[:, 0].numpy())
    expected = convolve(x.numpy(), full, np.zeros(4), (1, 1), (1, 1), (1, 1), 1)
    assert np.allclose(separable.numpy(), expected, atol=1e-5)


def test_the_worked_example_of_a_5x5_image_and_a_3x3_kernel():
    image = np.array([[1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]])
    kernel = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]])
    by_hand = [[4, 3, 4], [2, 4, 3], [2, 3, 4]]
    one = (1, 1)
    loops = convolve(image[None, None], kernel[None, None], [0], one, (0, 0), one, 1)
    layer = nn.functional.conv2d(torch.tensor(image)[None, None].double(), torch.tensor(kernel)[None, None].double())
    assert loops[0, 0].tolist() == layer[0, 0].tolist() == by_hand


@FEW
@given(
    size=pairs(2, 7), kernel=pairs(1, 3), stride=pairs(1, 3), dilation=st.one_of(st.just((1, 1)), pairs(1, 3)),
    data=st.data(), seed=st.integers(0, 1000),
)  # fmt: skip
def test_pooling_is_the_nested_loops(size, kernel, stride, dilation, data, seed):
    padding = tuple(data.draw(st.integers(0, side // 2)) for side in kernel)
    assume(all(dilation[i] * (kernel[i] - 1) + 1 <= size[i] + 2 * padding[i] for i in (0, 1)))
    x = np.random.default_rng(seed).normal(size=(2, 3, *size))
    rows, columns = (output_size(size[i], kernel[i], stride[i], padding[i], dilation[i]) for i in (0, 1))
    largest, mean = np.full((2, 3, rows, columns), -np.inf), np.zeros((2, 3, rows, columns))
    for row in range(rows):
        for column in range(columns):
            for i in range(kernel[0]):
                for j in range(kernel[1]):
                    up = row * stride[0] - padding[0] + i * dilation[0]
                    across = column * stride[1] - padding[1] + j * dilation[1]
                    if 0 <= up < size[0] and 0 <= across < size[1]:
                        pixel = x[:, :, up, across]
                        largest[:, :, row, column] = np.maximum(largest[:, :, row, column], pixel)
                        mean[:, :, row, column] += pixel / (kernel[0] * kernel[1])  # padded zeros count
    assert np.array_equal(nn.MaxPool2d(kernel, stride, padding, dilation)(torch.tensor(x)).numpy(), largest)
    if dilation == (1, 1):  # torch has no other average
        assert np.allclose(nn.AvgPool2d(kernel, stride, padding)(torch.tensor(x)).numpy(), mean)


def moments(values: list[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    return mean, sum((value - mean) ** 2 for value in values) / len(values)


@FEW
@given(
    images=st.integers(2, 3), groups=st.integers(1, 3), per_group=st.integers(1, 3), size=pairs(2, 4),
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_normalization_is_the_nested_loops(images, groups, per_group, size, seed):
    channels = groups * per_group
    x = np.random.default_rng(seed).normal(1, 2, size=(images, channels, *size))
    norms = {
        "batch": nn.BatchNorm2d(channels), "instance": nn.InstanceNorm2d(channels),
        "group": nn.GroupNorm(groups, channels), "layer": nn.LayerNorm([channels, *size]),
    }  # fmt: skip
    together = {  # the places whose pixels share a mean and a variance with (image, channel)
        "batch": lambda n, c: [(m, c) for m in range(images)],
        "instance": lambda n, c: [(n, c)],
        "group": lambda n, c: [(n, d) for d in range(channels) if d // per_group == c // per_group],
        "layer": lambda n, c: [(n, d) for d in range(channels)],
    }
    for name, norm in norms.items():
        expected = np.empty_like(x)
        for n in range(images):
            for c in range(channels):
                mean, var = moments([pixel for place in together[name](n, c) for pixel in x[place].ravel()])
                for row in range(size[0]):
                    for column in range(size[1]):
                        expected[n, c, row, column] = (x[n, c, row, column] - mean) / (var + 1e-5) ** 0.5
        assert np.allclose(norm.double()(torch.tensor(x)).detach().numpy(), expected), name
