"""Encoded images → one uint8 tensor, decoded once, by several threads (Pillow decodes outside the interpreter lock)."""

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor


class Undecodable(Exception):
    """Some sources are no images; ``faults`` has (index, reason) of each."""

    def __init__(self, faults: list[tuple[int, str]]) -> None:
        super().__init__(f"{len(faults)} images can't be decoded, first {faults[0]}")
        self.faults = faults


def decode(sources: Sequence[bytes | Path], image_size: int | None, channels: int) -> Tensor:
    """uint8 (N, channels, H, W). Turned upright by their EXIF tag; with an ``image_size``, cut to their central square
    and resized (antialiased bilinear); without one, all must have the first image's size. Raises Undecodable."""

    def attempt(source: bytes | Path) -> np.ndarray | str:
        try:
            return _decode_one(source, image_size, channels)
        except Exception as error:  # Pillow's plug-ins raise OSError, ValueError, SyntaxError, struct.error, …
            return (str(error) or type(error).__name__).splitlines()[0]

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        results = list(threads.map(attempt, sources, chunksize=64))
    shape = next((result.shape for result in results if not isinstance(result, str)), None)
    faults, arrays = [], []
    for index, result in enumerate(results):
        if isinstance(result, str):
            faults.append((index, result))
        elif result.shape != shape:
            faults.append(
                (index, f"{_size(result.shape)} pixels, the first image has {_size(shape)}: give an image size")
            )
        else:
            arrays.append(result)
    if faults:
        raise Undecodable(faults)
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()


def _size(shape: tuple[int, ...] | None) -> str:
    return f"{shape[1]}×{shape[0]}" if shape else "none"


def _decode_one(source: bytes | Path, image_size: int | None, channels: int) -> np.ndarray:
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
        image = ImageOps.exif_transpose(file).convert("L" if channels == 1 else "RGB")
    if image_size is not None and image.size != (image_size, image_size):
        image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(image.height, image.width, channels)
