"""CIFAR-10 (Krizhevsky 2009): colour 32×32, in torchvision's format or as parquet files."""

from pathlib import Path

from cnnbench.data.images import Images
from cnnbench.data.readers.cifar import read_torchvision
from cnnbench.data.readers.dataset import DATASETS, Dataset, Read
from cnnbench.data.readers.parquet import read_parquet

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def reader(split: str) -> Read:
    """A function that reads ``split``, "train" or "test", and no other."""

    def read(root: Path, image_size: int | None, channels: int | None) -> Images:
        for folder in _parquet_folders(root):
            files = sorted(folder.glob(f"{split}-*.parquet"))
            if files:
                return read_parquet(files, CLASSES)
        looked = [f"{split}-*.parquet in {folder}" for folder in _parquet_folders(root)]
        return read_torchvision("cifar10", "CIFAR10", split, root, looked)

    return read


def _parquet_folders(root: Path) -> list[Path]:
    return [root, root / "cifar10", root / "cifar10" / "plain_text", root / "cifar10-jpeg"]


DATASETS.register("cifar10", image_size=32, channels=3, classes=10)(Dataset(reader("train"), reader("test")))
