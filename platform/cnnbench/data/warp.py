"""Geometric augmentation by interpolation: every image has its own crop, rotation, translation, scale and shear."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

CROP_ASPECT = 4 / 3  # widest crop, and its reciprocal the tallest, before resizing: Szegedy et al. 2014, section 6


@dataclass(frozen=True)
class Warp:
    """Which are on. A crop is taken first and resized to the whole image; that is sheared, scaled, rotated, then moved.

    resized_crop: smallest share of the image's area that a crop may have (1: none). Area and logarithm of the aspect
    ratio are uniform (Szegedy et al. 2014, arXiv:1409.4842); a side longer than the image is cut to its length.
    rotation: degrees, uniform in ±rotation about the centre. translation: share of the image's side, uniform in
    ±translation, in x and in y. scaling: magnified by a factor uniform in 1 ± scaling. shear: degrees along x, uniform.
    """

    resized_crop: float = 1.0
    rotation: float = 0.0
    translation: float = 0.0
    scaling: float = 0.0
    shear: float = 0.0

    def draw(self, count: int, height: int, width: int, generator: torch.Generator) -> Tensor | None:
        """float32 (count, 2, 3): the matrix [A | t] that takes a pixel of the new image, (x, y) in pixels from the
        centre, to its place in the old one; None if nothing is on."""
        if self == Warp():
            return None
        area, aspect, *numbers = torch.rand(9, count, generator=generator)
        top, left, turn, right, down, size, slant = numbers
        affine = _inverse_affine(
            angle=math.radians(self.rotation) * _signed(turn),
            shift=torch.stack([width * _signed(right), height * _signed(down)], 1) * self.translation,
            scale=1.0 + self.scaling * _signed(size),
            shear=math.radians(self.shear) * _signed(slant),
        )
        if self.resized_crop == 1.0:
            return affine
        stretch, centre = _crop(self.resized_crop + (1.0 - self.resized_crop) * area, aspect, top, left, height, width)
        source = stretch[:, :, None] * affine
        source[:, :, 2] += centre
        return source


def warp(pixels: Tensor, source: Tensor) -> Tensor:
    """uint8 (N, C, H, W) and the matrices of ``Warp.draw`` on the same device → uint8 (N, C, H, W).

    Bilinear between pixel centres, black outside of the old image; devices may differ by a grey level in rounding.
    """
    height, width = pixels.shape[2:]
    x = torch.arange(width, device=pixels.device) - (width - 1) / 2
    y = torch.arange(height, device=pixels.device)[:, None] - (height - 1) / 2
    place = source[:, :, 0, None, None] * x + source[:, :, 1, None, None] * y + source[:, :, 2, None, None]
    grid = torch.stack([place[:, 0] * (2 / width), place[:, 1] * (2 / height)], 3)  # ±1: the outer edge
    sampled = F.grid_sample(pixels.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    inside = (grid.abs() <= 1.0).all(3)[:, None]
    return torch.where(inside, sampled, 0.0).round_().to(torch.uint8)


def _signed(uniform: Tensor) -> Tensor:
    """[0, 1) → [-1, 1)."""
    return 2.0 * uniform - 1.0


def _inverse_affine(angle: Tensor, shift: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
    """The inverse of: shear along x, scale, rotate, move. Angles in radians; in pixels y points down, so that a
    positive angle turns clockwise."""
    cos, sin, slant = angle.cos(), angle.sin(), shear.tan()
    rows = [torch.stack([cos - slant * sin, sin + slant * cos], 1), torch.stack([-sin, cos], 1)]
    matrix = torch.stack(rows, 1) / scale[:, None, None]
    return torch.cat([matrix, -(matrix * shift[:, None, :]).sum(2, keepdim=True)], 2)


def _crop(area: Tensor, aspect: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """(n, 2) each: a crop's sides as shares of the image's, and its centre from the image's, x before y."""
    ratio = CROP_ASPECT ** _signed(aspect)  # width to height
    crop_height = (area * height * width / ratio).sqrt().round().clamp(1, height)
    crop_width = (area * height * width * ratio).sqrt().round().clamp(1, width)
    first_row = (top * (height - crop_height + 1)).floor()
    first_column = (left * (width - crop_width + 1)).floor()
    centre = torch.stack([first_column + (crop_width - width) / 2, first_row + (crop_height - height) / 2], 1)
    return torch.stack([crop_width / width, crop_height / height], 1), centre
