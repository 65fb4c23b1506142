"""Batches of normalised images: decoded once, on the device if they fit, no per-image Python."""

import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cnnbench.data.augmentation import Augmentation, Draws
from cnnbench.data.image_normalization import Normalization
from cnnbench.data.images import Images
from cnnbench.data.mixing import Mixing
from cnnbench.data.seeds import derived_seed

SHARE_OF_FREE_MEMORY = 0.5  # of a GPU's, that a data set may take; the network needs the rest


class Batch(NamedTuple):
    """One rank's part of a batch. inputs: float32 (n, C, H, W); labels: int64 (n,); total: images over all ranks.

    Where images are mixed in pairs: other_labels, int64 (n,), the partners'; kept, the share that ``labels`` keep.
    """

    inputs: Tensor
    labels: Tensor
    total: int
    other_labels: Tensor | None = None
    kept: float = 1.0


class Batches:
    """A data set as batches. ``batch_size`` counts images over all ranks, and a batch holds the same images, augmented
    by the same random numbers, however many ranks share it."""

    def __init__(
        self,
        images: Images,
        batch_size: int,
        normalization: Normalization,
        *,
        device: torch.device,
        augmentation: Augmentation | None = None,
        mixing: Mixing | None = None,
        seed: int = 0,
        channels_last: bool = False,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size: {batch_size}; choose a whole number from 1")
        if not len(images):
            raise ValueError("no images to make batches of")
        pixels, labels = _placed(images, device)
        self.pixels, self.labels, self.batch_size, self.device = pixels, labels, batch_size, device
        self.augmentation, self.mixing = augmentation or Augmentation(), mixing or Mixing()
        self.seed, self.rank, self.ranks = seed, rank, ranks
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.scale, self.shift = normalization.scale_and_shift(device)
        self.fill = normalization.fill().to(device)

    def __len__(self) -> int:
        """Batches in an epoch of training."""
        return max(1, len(self.labels) // self.batch_size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch of training, in an order, with augmentation and with mixing that (seed, epoch) fix.

        An image's partner in mixing is the next one of the whole batch, whose order is random, and the last one's is
        the first; both are augmented before.

        A last batch that is not full is left out, unless it is the only one: its gradient would weigh few images as
        heavily as many, and batch normalisation can't take a single one. Raises ValueError if a batch has fewer images
        than there are ranks.
        """
        total = min(self.batch_size, len(self.labels))
        if total < self.ranks:
            raise ValueError(f"batch_size: {total} images for {self.ranks} workers; choose a larger batch")
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "batches", epoch))
        order = torch.randperm(len(self.labels), generator=generator).to(self.pixels.device)
        height, width = self.pixels.shape[2:]
        draws = self.augmentation.draw(len(self.labels), height, width, generator).to(self.device)
        mixes = self.mixing.draw(len(self), height, width, derived_seed(self.seed, "mixing", epoch))
        for start, mix in zip(range(0, len(self) * total, total), mixes, strict=True):
            mine = slice(start + self.rank, start + total, self.ranks)
            inputs, labels = self._augmented(order[mine], draws.at(mine))
            if mix is None:
                yield Batch(inputs, labels, total)
                continue
            if self.ranks == 1:
                partners, other_labels = inputs.roll(-1, 0), labels.roll(-1, 0)
            else:  # they are other ranks' images, which this one augments too
                theirs = start + torch.arange(self.rank + 1, total + 1, self.ranks) % total
                partners, other_labels = self._augmented(
                    order[theirs.to(order.device)], draws.at(theirs.to(self.device))
                )
            yield Batch(mix.apply(inputs, partners), labels, total, other_labels, mix.kept)

    def in_order(self) -> Iterator[Batch]:
        """This rank's share of all images once, in order, as they are: for evaluation. ``total`` is the share's own."""
        begin, end = (len(self.labels) * rank // self.ranks for rank in (self.rank, self.rank + 1))
        size = max(1, self.batch_size // self.ranks)
        for start in range(begin, end, size):
            part = slice(start, min(start + size, end))
            pixels = self.pixels[part].to(self.device, non_blocking=True)
            labels = self.labels[part].to(self.device, non_blocking=True)
            yield Batch(self._normalized(pixels), labels, len(labels))

    def _augmented(self, indices: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Inputs and labels of the images at ``indices``."""
        pixels = self.pixels.index_select(0, indices).to(self.device, non_blocking=True)
        labels = self.labels.index_select(0, indices).to(self.device, non_blocking=True)
        return self._normalized(self.augmentation.apply(pixels, draws, self.fill)), labels

    def _normalized(self, pixels: Tensor) -> Tensor:
        # on a CPU, widening first and changing the layout after is several times as fast as both at once
        return pixels.float().mul_(self.scale).add_(self.shift).contiguous(memory_format=self.layout)


def images_from_arrays(pixels: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> Images:
    """Images over the arrays' own memory, copied nowhere: uint8 (N, C, H, W) and int64 (N,). The arrays may be
    read-only, as those in a store that processes share; nothing in cnnbench writes to pixels."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return Images(torch.from_numpy(pixels), torch.from_numpy(labels), classes)


def _placed(images: Images, device: torch.device) -> tuple[Tensor, Tensor]:
    """Pixels and labels on the device, or where they are if they would fill it."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if images.pixels.nbytes > SHARE_OF_FREE_MEMORY * free:
            return images.pixels, images.labels
    return images.pixels.to(device), images.labels.to(device)
