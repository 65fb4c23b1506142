"""Augmentation of whole uint8 batches on the device: every image has its own crop, flips, warp, colours, erased boxes.

Random numbers are drawn apart from their use, for a whole epoch at once and on the CPU: one seed then means the same
pictures on every device, and on any number of workers.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnbench.data.color import draw_color_factors, jitter_color
from cnnbench.data.warp import Warp, warp

ERASED_AREA = (0.02, 0.33)  # of the image; and aspect ratios from 0.3 to 1/0.3: Zhong et al. 2017, section 4.1
ERASED_ASPECT = 0.3


@dataclass(frozen=True)
class Draws:
    """The random numbers of n images; None where nothing is drawn."""

    offset: Tensor | None  # int64 (n, 2): the crop's top and left edge in the padded image
    flip: Tensor | None  # bool (n,): left and right change places
    boxes: tuple[Tensor, ...]  # int64 (n, 4) each: top, bottom, left, right; empty where bottom <= top
    upside_down: Tensor | None = None  # bool (n,)
    source: Tensor | None = None  # float32 (n, 2, 3), see Warp.draw
    colors: Tensor | None = None  # float32 (n, 3), see draw_color_factors

    def at(self, index: slice | Tensor) -> "Draws":
        """The numbers of the images at ``index``."""
        return self._each(lambda numbers: numbers[index])

    def to(self, device: torch.device) -> "Draws":
        """The same numbers on ``device``."""
        return self._each(lambda numbers: numbers.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Draws":
        def changed(numbers: Tensor | None) -> Tensor | None:
            return None if numbers is None else change(numbers)

        return Draws(
            changed(self.offset),
            changed(self.flip),
            tuple(change(box) for box in self.boxes),
            changed(self.upside_down),
            changed(self.source),
            changed(self.colors),
        )


@dataclass(frozen=True)
class Augmentation:
    """Which augmentations are on. Crop and flips come first, then warp, colour, random erasing, cutout.

    crop_padding: pixels of black around the image before a crop of its own size at random (0: none).
    horizontal_flip: mirrored with probability 1/2.
    random_erasing: probability of erasing one rectangle (Zhong et al. 2017, arXiv:1708.04896); a rectangle longer than
    the image is cut to its length instead of being drawn anew, so that no image waits for another.
    cutout: side in pixels of an erased square whose centre lies anywhere (DeVries & Taylor 2017, arXiv:1708.04552).
    vertical_flip: upside down with probability 1/2. warp: see Warp. color_jitter: brightness, contrast and saturation
    each by a factor uniform in 1 ± color_jitter.
    """

    crop_padding: int = 0
    horizontal_flip: bool = False
    random_erasing: float = 0.0
    cutout: int = 0
    vertical_flip: bool = False
    warp: Warp = field(default_factory=Warp)
    color_jitter: float = 0.0

    def draw(self, count: int, height: int, width: int, generator: torch.Generator) -> Draws:
        """Random numbers for ``count`` images of ``height`` × ``width`` pixels, on the CPU."""
        offset = flip = upside_down = colors = None
        if self.crop_padding:
            offset = torch.randint(0, 2 * self.crop_padding + 1, (count, 2), generator=generator)
        if self.horizontal_flip:
            flip = torch.rand(count, generator=generator) < 0.5
        boxes = []
        if self.random_erasing:
            boxes.append(_erasing_boxes(self.random_erasing, count, height, width, generator))
        if self.cutout:
            boxes.append(_cutout_boxes(self.cutout, count, height, width, generator))
        # what was added later is drawn later, so that the numbers above stay those that a seed always gave
        if self.vertical_flip:
            upside_down = torch.rand(count, generator=generator) < 0.5
        source = self.warp.draw(count, height, width, generator)
        if self.color_jitter:
            colors = draw_color_factors(self.color_jitter, count, generator)
        return Draws(offset, flip, tuple(boxes), upside_down, source, colors)

    def apply(self, pixels: Tensor, draws: Draws, fill: Tensor) -> Tensor:
        """uint8 (N, C, H, W) → a new uint8 (N, C, H, W), or ``pixels`` itself if nothing is on.

        draws: of these N images, on the pixels' device; fill: uint8 (C, 1, 1), what erased pixels become.
        """
        if draws.offset is not None or draws.flip is not None or draws.upside_down is not None:
            pixels = _crop_and_flip(pixels, self.crop_padding, draws)
        if draws.source is not None:
            pixels = warp(pixels, draws.source)
        if draws.colors is not None:
            pixels = jitter_color(pixels, draws.colors)
        for box in draws.boxes:
            pixels = _erase(pixels, box, fill)
        return pixels


def _crop_and_flip(pixels: Tensor, padding: int, draws: Draws) -> Tensor:
    """One gather over the padded batch: pixel (y, x) comes from (top + y, left + x), or mirrored in x, y or both."""
    count, channels, height, width = pixels.shape
    rows = torch.arange(height, device=pixels.device).expand(count, height)
    columns = torch.arange(width, device=pixels.device).expand(count, width)
    if draws.flip is not None:
        columns = torch.where(draws.flip[:, None], width - 1 - columns, columns)
    if draws.upside_down is not None:
        rows = torch.where(draws.upside_down[:, None], height - 1 - rows, rows)
    if draws.offset is not None:
        pixels = F.pad(pixels, (padding, padding, padding, padding))
        rows, columns = rows + draws.offset[:, :1], columns + draws.offset[:, 1:]
    source = rows[:, :, None] * pixels.shape[3] + columns[:, None, :]
    source = source.view(count, 1, height * width).expand(-1, channels, -1)
    return pixels.flatten(2).gather(2, source).view(count, channels, height, width)


def _erase(pixels: Tensor, box: Tensor, fill: Tensor) -> Tensor:
    rows = torch.arange(pixels.shape[2], device=pixels.device)
    columns = torch.arange(pixels.shape[3], device=pixels.device)
    top, bottom, left, right = box[:, :, None].unbind(1)
    inside_rows = (rows >= top) & (rows < bottom)
    inside_columns = (columns >= left) & (columns < right)
    return torch.where(inside_rows[:, None, :, None] & inside_columns[:, None, None, :], fill, pixels)


def _erasing_boxes(probability: float, count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    erased, area, aspect, y, x = torch.rand(5, count, generator=generator)
    area = (ERASED_AREA[0] + (ERASED_AREA[1] - ERASED_AREA[0]) * area) * height * width
    ratio = ERASED_ASPECT ** (1.0 - 2.0 * aspect)  # log-uniform: tall and wide are equally likely
    box_height = (area * ratio).sqrt().round().clamp(1, height)
    box_width = (area / ratio).sqrt().round().clamp(1, width)
    top, left = (y * (height - box_height + 1)).floor(), (x * (width - box_width + 1)).floor()
    bottom = torch.where(erased < probability, top + box_height, top)
    return torch.stack([top, bottom, left, left + box_width], 1).long()


def _cutout_boxes(side: int, count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    top = torch.randint(0, height, (count,), generator=generator) - side // 2
    left = torch.randint(0, width, (count,), generator=generator) - side // 2
    return torch.stack([top, top + side, left, left + side], 1)
