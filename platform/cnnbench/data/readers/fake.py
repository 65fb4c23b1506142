"""Fake data for smoke tests: ten classes of colour images of 32×32 that no file and no download is needed for.

Each class has a coarse pattern of its own under noise that is stronger than it: a network that learns anything passes
the majority class, and one that does not is seen to. What is measured on it says nothing about networks.
"""

from pathlib import Path

import torch
import torch.nn.functional as F

from cnnbench.data.images import Images
from cnnbench.data.readers.dataset import DATASETS, Dataset

CLASSES, SIZE, GRID = 10, 32, 4
TRAIN, TEST = 2000, 500  # images, as many of each class
PATTERN, NOISE = 32, 96  # grey levels, at most, to either side of the middle


def read_train(root: Path, image_size: int | None, channels: int | None) -> Images:
    """2,000 images, the same on every machine."""
    return _draw(TRAIN, seed=1)


def read_test(root: Path, image_size: int | None, channels: int | None) -> Images:
    """500 others of the same patterns."""
    return _draw(TEST, seed=2)


def _draw(count: int, seed: int) -> Images:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(-PATTERN, PATTERN + 1, (CLASSES, 3, GRID, GRID), generator=generator)
    patterns = F.interpolate(coarse.double(), (SIZE, SIZE), mode="nearest").long()
    labels = torch.arange(count) % CLASSES
    generator.manual_seed(seed)
    noise = torch.randint(-NOISE, NOISE + 1, (count, 3, SIZE, SIZE), generator=generator)
    pixels = (128 + patterns[labels] + noise).clamp(0, 255).to(torch.uint8)
    return Images(pixels, labels, tuple(f"class {number}" for number in range(CLASSES)))


DATASETS.register("fake", image_size=32, channels=3, classes=10)(Dataset(read_train, read_test))
