"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): colour 32×32, in torchvision's format; CIFAR-10 also in parquet files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cnnbench.data.images import Images
from cnnbench.data.parquet import read_parquet
from cnnbench.data.sources import DataError, download

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

Read = Callable[[Path, int | None, int | None], Images]


def cifar10(split: str) -> Read:
    """A function that reads ``split``, "train" or "test", and no other."""

    def read(root: Path, image_size: int | None, channels: int | None) -> Images:
        for folder in _parquet_folders(root):
            files = sorted(folder.glob(f"{split}-*.parquet"))
            if files:
                return read_parquet(files, CIFAR10_CLASSES)
        looked = [f"{split}-*.parquet in {folder}" for folder in _parquet_folders(root)]
        return _read_torchvision("cifar10", "CIFAR10", split, root, looked)

    return read


def cifar100(split: str) -> Read:
    """A function that reads ``split``, "train" or "test", and no other."""
    return lambda root, image_size, channels: _read_torchvision("cifar100", "CIFAR100", split, root, [])


def _parquet_folders(root: Path) -> list[Path]:
    return [root, root / "cifar10", root / "cifar10" / "plain_text", root / "cifar10-jpeg"]


def _read_torchvision(name: str, kind_name: str, split: str, root: Path, looked: list[str]) -> Images:
    from torchvision import datasets

    kind: Any = getattr(datasets, kind_name)
    folder = root / kind.base_folder
    if not folder.is_dir():
        looked = [f"{folder} (torchvision's format)", *looked]
        download(name, lambda: kind(str(root), download=True), [kind.url], root, looked)
    try:
        # verifies the files' checksums before it unpickles them
        data = kind(str(root), train=split == "train", download=False)
    except RuntimeError:
        raise DataError(f"{folder}: incomplete or corrupted; delete the folder, and it is fetched anew") from None
    pixels = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
    return Images(pixels, torch.tensor(data.targets), tuple(data.classes))
