"""MNIST (LeCun et al. 1998): handwritten digits, grey 28×28."""

from cnnbench.data.readers.dataset import DATASETS, Dataset
from cnnbench.data.readers.idx import IdxDataset

MNIST = IdxDataset(
    "mnist",
    "MNIST",
    tuple(str(digit) for digit in range(10)),
    {"train": (5, 0, 4, 1, 9, 2, 1, 3, 1, 4), "t10k": (7, 2, 1, 0, 4, 1, 4, 9, 5, 9)},
)

DATASETS.register("mnist", image_size=28, channels=1, classes=10)(Dataset(MNIST.reader("train"), MNIST.reader("t10k")))
