"""CIFAR's files in torchvision's format."""

from pathlib import Path
from typing import Any

import torch

from cnnbench.data.images import Images
from cnnbench.data.sources import DataError, download


def read_torchvision(name: str, kind_name: str, split: str, root: Path, looked: list[str]) -> Images:
    """The ``split``, "train" or "test", of torchvision's class ``kind_name``, fetched where it is not there yet.

    looked: what was looked for before, one text a place. Raises DataError.
    """
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
