"""Pooling over a window that slides. Every component keeps the window of the site: its kernel, stride, padding,
dilation and ceil_mode, and so the size of the output."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnbench.components.kinds import COMPONENTS, Place, Unsuitable, Window

WINDOW_POOLINGS = COMPONENTS["window_pooling"]


def _window(place: Place) -> Window:
    assert place.window is not None, "a window pooling's place has a window"
    return place.window


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _max(window: Window) -> nn.MaxPool2d:
    return nn.MaxPool2d(window.kernel_size, window.stride, window.padding, window.dilation, ceil_mode=window.ceil_mode)


def _average(window: Window) -> nn.AvgPool2d:
    if _pair(window.dilation) != (1, 1):
        raise Unsuitable("a dilated window can't be averaged; choose max or learnable")
    # a padded zero is no pixel: max-pooling does not see it either
    return nn.AvgPool2d(window.kernel_size, window.stride, window.padding, window.ceil_mode, count_include_pad=False)


def _overhang(x: Tensor, window: Window) -> tuple[int, int]:
    """The (width, height) in pixels by which ceil_mode's last windows reach beyond the padded map (N, C, H, W)."""
    if not window.ceil_mode:
        return 0, 0
    sides = (x.shape[2:], *map(_pair, (window.kernel_size, window.stride, window.padding, window.dilation)))
    height, width = (_overhang_of(*side) for side in zip(*sides, strict=True))
    return width, height


def _overhang_of(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    steps, rest = divmod(size + 2 * padding - dilation * (kernel - 1) - 1, stride)
    # as in torch, a last window that would begin in the padding behind the map does not exist
    exists = rest and (steps + 1) * stride < size + padding
    return stride - rest if exists else 0


@WINDOW_POOLINGS.register("max", same_as=(nn.MaxPool2d, F.max_pool2d, torch.max_pool2d))
def max_window(place: Place) -> nn.Module:
    """The largest value of the window."""
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
        self.window = window
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
    """Max and average, mixed by learned weights over all channels."""
    return MixedPool2d(place.channels, _window(place))


class StochasticPool2d(nn.Module):
    """In training one pixel of each window, drawn with a probability proportional to max(x, 0); in evaluation the
    window's mean under those probabilities. A window without a positive pixel has them all alike: a uniform draw, and
    the plain mean. Padding is never drawn. Each window of each channel draws for itself, from the global generator."""

    NEGLIGIBLE = 1e-30  # of what is not positive: it decides only where nothing else is left

    def __init__(self, window: Window) -> None:
        super().__init__()
        self.window = window
        self.average = _average(window)

    def forward(self, x: Tensor) -> Tensor:
        exact = x.to(torch.promote_types(x.dtype, torch.float32))  # sums of probabilities, whatever autocast says
        weights = exact.clamp(min=self.NEGLIGIBLE)
        if not self.training:
            mean: Tensor = self.average(weights * exact) / self.average(weights)
            return mean.to(x.dtype)
        return self._draw(x, weights.detach())

    def _draw(self, x: Tensor, weights: Tensor) -> Tensor:
        top, left = _pair(self.window.padding)
        right, bottom = _overhang(x, self.window)
        pads = (left, left + right, top, top + bottom)
        x, weights = F.pad(x, pads), F.pad(weights, pads)
        # the pixel of each window where the cumulated weight passes a uniform draw
        *cumulated, total = itertools.accumulate(self._pixels(weights))
        drawn = torch.rand_like(total) * total
        *places, last = self._pixels(torch.arange(x.shape[2] * x.shape[3], device=x.device).view(1, 1, *x.shape[2:]))
        place = last.expand_as(total)
        for sum_, other in zip(reversed(cumulated), reversed(places), strict=True):
            place = torch.where(sum_ > drawn, other, place)
        pixels = x.flatten(2).gather(2, place.flatten(2)).view_as(total)
        return torch.where(total.isfinite(), pixels, total.to(x.dtype))  # a diverged map stays one

    def _pixels(self, x: Tensor) -> list[Tensor]:
        """All windows' first pixels, all their second ones, …: as views of the padded map."""
        (height, width), (down, across) = _pair(self.window.kernel_size), _pair(self.window.stride)
        rows, columns = x.shape[2] - height + 1, x.shape[3] - width + 1
        return [
            x[:, :, row : row + rows : down, column : column + columns : across]
            for row in range(height)
            for column in range(width)
        ]


@WINDOW_POOLINGS.register("stochastic", same_as=(StochasticPool2d,))
def stochastic_window(place: Place) -> nn.Module:
    """A pixel drawn in proportion to its activation (Zeiler & Fergus 2013, arXiv:1301.3557), which they take to be
    rectified. Here negative pixels have no weight, unless the window has no others."""
    return StochasticPool2d(_window(place))


class LearnablePool2d(nn.Module):
    """A depthwise convolution with the window's kernel, stride, padding and dilation, which starts as the average (of
    padded zeros too)."""

    def __init__(self, channels: int, window: Window) -> None:
        super().__init__()
        self.window = window
        self.conv = nn.Conv2d(
            channels, channels, window.kernel_size, window.stride, window.padding, window.dilation, channels, bias=False
        )
        height, width = _pair(window.kernel_size)
        nn.init.constant_(self.conv.weight, 1 / (height * width))

    def forward(self, x: Tensor) -> Tensor:
        right, bottom = _overhang(x, self.window)
        if right or bottom:
            x = F.pad(x, (0, right, 0, bottom))
        pooled: Tensor = self.conv(x)
        return pooled.to(x.dtype)


@WINDOW_POOLINGS.register("learnable", same_as=(LearnablePool2d,))
def learnable_window(place: Place) -> nn.Module:
    """A learned weight for each pixel of the window, a channel by itself: the strided convolution in pooling's place of
    Springenberg et al. (2014, arXiv:1412.6806), made depthwise."""
    return LearnablePool2d(place.channels, _window(place))


class AttentionPool2d(nn.Module):
    """The mean of the window's real pixels, weighted by a softmax over the window of a score that a learned 1×1
    convolution gives each pixel from all its channels."""

    LOWEST = -60.0  # of a score below its image's largest: keeps a window of low scores from 0/0 in float32

    def __init__(self, channels: int, window: Window) -> None:
        super().__init__()
        self.window = window
        self.average = _average(window)
        self.score = nn.Conv2d(channels, 1, kernel_size=1, bias=False)  # a bias would cancel in the softmax

    def forward(self, x: Tensor) -> Tensor:
        score: Tensor = self.score(x)
        score = score.to(torch.promote_types(score.dtype, torch.float32))
        weights = (score - score.amax((2, 3), keepdim=True).detach()).clamp(min=self.LOWEST).exp().to(x.dtype)
        pooled: Tensor = self.average(weights * x) / self.average(weights)
        return pooled


@WINDOW_POOLINGS.register("attention", same_as=(AttentionPool2d,))
def attention_window(place: Place) -> nn.Module:
    """A softmax-weighted mean. It is local importance-based pooling (Gao et al. 2019, arXiv:1908.04156) with the least
    of its score networks, and one score for all channels of a pixel."""
    return AttentionPool2d(place.channels, _window(place))
