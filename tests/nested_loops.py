"""A convolution written by hand, as one learns it: the oracle of the layers and of the components that are some."""

import numpy as np


def output_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def convolve(x, weight, bias, stride, padding, dilation, groups) -> np.ndarray:
    """x: (N, C, H, W), weight: (K, C / groups, kernel height, kernel width), bias: (K) → (N, K, H', W')."""
    images, _, height, width = x.shape
    filters, per_group, kernel_height, kernel_width = weight.shape
    rows = output_size(height, kernel_height, stride[0], padding[0], dilation[0])
    columns = output_size(width, kernel_width, stride[1], padding[1], dilation[1])
    y = np.zeros((images, filters, rows, columns))
    for image in range(images):
        for filter_ in range(filters):
            first = filter_ // (filters // groups) * per_group
            for row in range(rows):
                for column in range(columns):
                    total = bias[filter_]
                    for channel in range(per_group):
                        for i in range(kernel_height):
                            for j in range(kernel_width):
                                up = row * stride[0] - padding[0] + i * dilation[0]
                                across = column * stride[1] - padding[1] + j * dilation[1]
                                if 0 <= up < height and 0 <= across < width:
                                    pixel = x[image, first + channel, up, across]
                                    total += pixel * weight[filter_, channel, i, j]
                    y[image, filter_, row, column] = total
    return y
