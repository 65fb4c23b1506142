"""Pooling: over a window that slides, and over the whole map."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnbench.components.kinds import COMPONENTS, Place, Unsuitable, Window

WINDOW_POOLINGS = COMPONENTS["window_pooling"]
GLOBAL_POOLINGS = COMPONENTS["global_pooling"]


def _window(place: Place) -> Window:
    assert place.window is not None, "a window pooling's place has a window"
    return place.window


def _max(window: Window) -> nn.MaxPool2d:
    return nn.MaxPool2d(window.kernel_size, window.stride, window.padding, window.dilation, ceil_mode=window.ceil_mode)


def _average(window: Window) -> nn.AvgPool2d:
    if window.dilation not in (1, (1, 1)):
        raise Unsuitable("a dilated window can't be averaged; choose max")
    # a padded zero is no pixel: max-pooling does not see it either
    return nn.AvgPool2d(window.kernel_size, window.stride, window.padding, window.ceil_mode, count_include_pad=False)


@WINDOW_POOLINGS.register("max", same_as=(nn.MaxPool2d, F.max_pool2d, torch.max_pool2d))
def max_window(place: Place) -> nn.Module:
    return _max(_window(place))


@WINDOW_POOLINGS.register("average", same_as=(nn.AvgPool2d, F.avg_pool2d))
def average_window(place: Place) -> nn.Module:
    """The mean of the window's real pixels; padding does not count."""
    return _average(_window(place))


class MixedPool2d(nn.Module):
    """Max and average pooling of one window, fused by a learned 1×1 convolution from 2C to C channels, which starts as
    the mean of the two."""

    def __init__(self, channels: int, window: Window) -> None:
        super().__init__()
        self.max = _max(window)
        self.average = _average(window)
        self.fuse = nn.Conv2d(2 * channels, channels, kernel_size=1, bias=False)
        half = 0.5 * torch.eye(channels, device=self.fuse.weight.device)
        with torch.no_grad():
            self.fuse.weight.copy_(torch.cat([half, half], dim=1)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        fused: Tensor = self.fuse(torch.cat([self.max(x), self.average(x)], dim=1))
        return fused


@WINDOW_POOLINGS.register("mixed", same_as=(MixedPool2d,))
def mixed_window(place: Place) -> nn.Module:
    return MixedPool2d(place.channels, _window(place))


@GLOBAL_POOLINGS.register("average", same_as=(nn.AdaptiveAvgPool2d, F.adaptive_avg_pool2d, torch.mean, "mean"))
def average_map(place: Place) -> nn.Module:
    return nn.AdaptiveAvgPool2d(1)


@GLOBAL_POOLINGS.register("max", same_as=(nn.AdaptiveMaxPool2d, F.adaptive_max_pool2d))
def max_map(place: Place) -> nn.Module:
    return nn.AdaptiveMaxPool2d(1)


class AverageMaxPool2d(nn.Module):
    """The mean of global average and global max pooling: (N, C, H, W) to (N, C, 1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * (F.adaptive_avg_pool2d(x, 1) + F.adaptive_max_pool2d(x, 1))


@GLOBAL_POOLINGS.register("average_max", same_as=(AverageMaxPool2d,))
def average_max_map(place: Place) -> nn.Module:
    return AverageMaxPool2d()
