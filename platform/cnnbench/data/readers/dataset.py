"""What a data set is, and the registry that each registers in. Training, validation and test images come from separate
calls: who is given only ``load_train`` and ``load_validation`` can't have seen a test image."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cnnbench.data.images import Images
from cnnbench.data.resize import fit
from cnnbench.data.sources import data_root
from cnnbench.registry import Registry

Read = Callable[[Path, int | None, int | None], Images]
ReadOptional = Callable[[Path, int | None, int | None], Images | None]


@dataclass(frozen=True)
class Dataset:
    """How a data set's splits are read. Each reader takes (root, image_size, channels), and may leave the last two
    to ``load_*``, which resizes once (antialiased bilinear) and makes grey (1) or colour (3) of what was read.

    In every ``load_*``: root as in ``data_root``; image_size in pixels, None: as the data set has it; channels 1, 3
    or None: as the data set has it. Raises DataError if the data is missing or bad.
    """

    read_train: Read
    read_test: Read
    read_validation: ReadOptional | None = None  # None: validation images are split off the training images

    def load_train(
        self, root: str | Path | None = None, *, image_size: int | None = None, channels: int | None = None
    ) -> Images:
        """The training images; they include the validation images if the data set has no such split of its own."""
        return fit(self.read_train(data_root(root), image_size, channels), image_size, channels)

    def load_validation(
        self, root: str | Path | None = None, *, image_size: int | None = None, channels: int | None = None
    ) -> Images | None:
        """The data set's own validation images, or None if it has none."""
        images = self.read_validation and self.read_validation(data_root(root), image_size, channels)
        return fit(images, image_size, channels) if images else None

    def load_test(
        self, root: str | Path | None = None, *, image_size: int | None = None, channels: int | None = None
    ) -> Images:
        """The test images: for finals alone."""
        return fit(self.read_test(data_root(root), image_size, channels), image_size, channels)


# Facts of an entry: image_size in pixels, channels, classes, as the files have them; None: as the user's images are.
# Of these also count, a function: root → class → its training images, counted unread.
DATASETS: Registry[Dataset] = Registry("data set", "cnnbench choices data.dataset")
