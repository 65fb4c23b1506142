"""CIFAR-100 (Krizhevsky 2009): colour 32×32, in torchvision's format."""

from cnnbench.data.readers.cifar import read_torchvision
from cnnbench.data.readers.dataset import DATASETS, Dataset, Read


def reader(split: str) -> Read:
    """A function that reads ``split``, "train" or "test", and no other."""
    return lambda root, image_size, channels: read_torchvision("cifar100", "CIFAR100", split, root, [])


DATASETS.register("cifar100", image_size=32, channels=3, classes=100)(Dataset(reader("train"), reader("test")))
