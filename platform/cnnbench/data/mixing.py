"""Mixing the images of a batch in pairs: mixup and CutMix."""

import random
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Mix:
    """How one batch is mixed. kept: the share of an image, and of its label, that stays its own; box: the pixels that
    the partner's replace, (top, bottom, left, right), or None where both are blended all over."""

    kept: float
    box: tuple[int, int, int, int] | None = None

    def apply(self, inputs: Tensor, partners: Tensor) -> Tensor:
        """``inputs``, float (N, C, H, W), mixed in place with ``partners`` of the same shape."""
        if self.box is None:
            return inputs.lerp_(partners, 1.0 - self.kept)
        top, bottom, left, right = self.box
        inputs[:, :, top:bottom, left:right] = partners[:, :, top:bottom, left:right]
        return inputs


@dataclass(frozen=True)
class Mixing:
    """Which mixing is on: 0 is off, else the parameter α of Beta(α, α), from which each batch has its own share λ.

    mixup: x = λ·x₁ + (1-λ)·x₂ (Zhang et al. 2017, arXiv:1710.09412). cutmix: a rectangle of the partner's of area 1-λ
    and the image's aspect ratio, its centre anywhere, so that the border may cut it; λ is then the area that is kept
    (Yun et al. 2019, arXiv:1905.04899). With both on, each batch has one of them, by the toss of a coin.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def draw(self, batches: int, height: int, width: int, seed: int) -> list[Mix | None]:
        """One epoch's mixes, for images of ``height`` × ``width`` pixels; None where a batch stays as it is."""
        if not self.mixup and not self.cutmix:
            return [None] * batches
        generator = random.Random(seed)
        return [self._one(height, width, generator) for _ in range(batches)]

    def _one(self, height: int, width: int, generator: random.Random) -> Mix:
        if not self.cutmix or (self.mixup and generator.random() < 0.5):
            return Mix(generator.betavariate(self.mixup, self.mixup))
        side = (1.0 - generator.betavariate(self.cutmix, self.cutmix)) ** 0.5  # of the box, in units of the image's
        top, bottom = _interval(side, height, generator)
        left, right = _interval(side, width, generator)
        return Mix(1.0 - (bottom - top) * (right - left) / (height * width), (top, bottom, left, right))


def _interval(side: float, length: int, generator: random.Random) -> tuple[int, int]:
    """The part of a box within one dimension of the image: first pixel, and the one after the last."""
    size = int(side * length)
    first = generator.randrange(length) - size // 2
    return max(first, 0), min(first + size, length)
