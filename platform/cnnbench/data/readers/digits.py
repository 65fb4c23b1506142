"""scikit-learn's handwritten digits: 1,797 grey images of 8×8 (Alpaydin & Kaynak 1998, UCI Optical Recognition)."""

from pathlib import Path

import torch

from cnnbench.data.images import Images
from cnnbench.data.readers.dataset import DATASETS, Dataset
from cnnbench.data.splits import stratified_split

TEST_FRACTION = 0.2
TEST_SEED = 0  # the data set has no test split of its own: this one is fixed for good


def read_train(root: Path, image_size: int | None, channels: int | None) -> Images:
    """The four fifths that are not the test split."""
    images = _read()
    return images.take(stratified_split(images.labels, TEST_FRACTION, TEST_SEED)[0])


def read_test(root: Path, image_size: int | None, channels: int | None) -> Images:
    """The fixed stratified test split: 20 % of each digit."""
    images = _read()
    return images.take(stratified_split(images.labels, TEST_FRACTION, TEST_SEED)[1])


def _read() -> Images:
    from sklearn.datasets import load_digits

    digits = load_digits()
    values = torch.from_numpy(digits.images).unsqueeze(1)  # 0 … 16
    pixels = (values * (255.0 / 16.0)).round().to(torch.uint8)
    return Images(pixels, torch.from_numpy(digits.target).long(), tuple(str(digit) for digit in range(10)))


DATASETS.register("digits", image_size=8, channels=1, classes=10)(Dataset(read_train, read_test))
