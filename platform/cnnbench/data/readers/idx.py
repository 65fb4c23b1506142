"""Data sets in idx files, as MNIST and its namesakes have them."""

import gzip
import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cnnbench.data.images import Images
from cnnbench.data.sources import DataError, download


@dataclass(frozen=True)
class IdxDataset:
    """A data set of MNIST's four files; ``first_labels`` tell MNIST from Fashion-MNIST, whose file names are equal."""

    name: str
    torchvision_name: str
    classes: tuple[str, ...]
    first_labels: dict[str, tuple[int, ...]]

    def reader(self, split: str) -> Callable[[Path, int | None, int | None], Images]:
        """A function that reads ``split``, "train" or "t10k", and no other."""
        return lambda root, image_size, channels: self._read(root, split)

    def _folders(self, root: Path) -> list[Path]:
        debian = self.name.replace("_", "-")
        return [root / self.torchvision_name / "raw", root / debian, root, Path("/usr/share/datasets") / debian]

    def _find(self, root: Path, split: str) -> Images | None:
        for folder in self._folders(root):
            labels_file = _plain_or_gz(folder / f"{split}-labels-idx1-ubyte")
            images_file = _plain_or_gz(folder / f"{split}-images-idx3-ubyte")
            if not labels_file or not images_file:
                continue
            labels = read_idx(labels_file)
            if tuple(labels[: len(self.first_labels[split])]) == self.first_labels[split]:
                return self._images(read_idx(images_file), labels, folder)
        return None

    def _images(self, pixels: np.ndarray, labels: np.ndarray, folder: Path) -> Images:
        if pixels.ndim != 3 or labels.ndim != 1 or len(pixels) != len(labels) or labels.max() >= len(self.classes):
            raise DataError(f"{folder}: images {pixels.shape} and labels {labels.shape} are not {self.name}")
        return Images(torch.from_numpy(pixels).unsqueeze(1), torch.from_numpy(labels).long(), self.classes)

    def _read(self, root: Path, split: str) -> Images:
        found = self._find(root, split)
        if found is None:
            from torchvision import datasets

            kind = getattr(datasets, self.torchvision_name)
            looked = [f"{split}-images-idx3-ubyte[.gz] in {folder}" for folder in self._folders(root)]
            urls = [mirror + kind.resources[0][0] for mirror in kind.mirrors]
            download(self.name, lambda: kind(str(root), download=True), urls, root, looked)
            found = self._find(root, split)
        if found is None:
            raise DataError(f"{self.name}: torchvision downloaded it to {root}, but its files are not this data set's")
        return found


def read_idx(path: Path) -> np.ndarray:
    """An array of unsigned bytes in the idx format, gzipped or not. Raises DataError, naming the file, if it isn't."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: can't be read ({error}); get the file anew") from None
    dimensions = data[3] if len(data) > 3 and data[:3] == b"\0\0\x08" else 0
    header = 4 + 4 * dimensions
    whole_header = dimensions > 0 and len(data) >= header
    shape = struct.unpack(f">{dimensions}I", data[4:header]) if whole_header else ()
    if not whole_header or len(data) != header + math.prod(shape):
        raise DataError(f"{path}: not a whole idx file of unsigned bytes; get the file anew")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape).copy()


def _plain_or_gz(path: Path) -> Path | None:
    return next((file for file in (path, path.with_name(path.name + ".gz")) if file.is_file()), None)
