"""The images that a stage's trials are handed: arrays, and nothing that says where they came from.

A trial's process loads this module, and so it must not lead to the readers of data sets: those are in ``sources``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnnbench.data.image_normalization import Normalization
from cnnbench.ledger import Split


@dataclass(frozen=True)
class TrialImages:
    """Arrays, because Ray shares them between a machine's processes without copying.

    train_pixels, held_pixels: uint8 (N, C, H, W); labels: int64 (N,). Held out are the validation images in a search
    and the test images in a final. normalization: by the training pixels' own mean and deviation.
    """

    train_pixels: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    held_pixels: NDArray[np.uint8]
    held_labels: NDArray[np.int64]
    classes: tuple[str, ...]
    normalization: Normalization
    split: Split

    @property
    def channels(self) -> int:
        return int(self.train_pixels.shape[1])
