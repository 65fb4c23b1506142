"""One's own images: ``train/CLASS/*.jpg`` and optional ``val/`` and ``test/`` of the same form."""

from collections.abc import Sequence
from pathlib import Path

import torch

from cnnbench.data.images import Images
from cnnbench.data.readers.dataset import DATASETS, Dataset
from cnnbench.data.readers.decoding import Undecodable, decode
from cnnbench.data.sources import DataError
from cnnbench.data.splits import stratified_split

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
TEST_FRACTION = 0.2
TEST_SEED = 0
NAMED_FAULTS = 20
SMALL = 8  # pixels of images that are only looked at for damage


def read_train(root: Path, image_size: int | None, channels: int | None) -> Images:
    """``train/``; without a ``test/`` folder, the four fifths of it that are not the test split. The test images are
    decoded and dropped: a damaged one must not come to light after a search of hours."""
    classes, files = _training_files(root)
    test: Sequence[File] = ()
    if not (root / "test").is_dir():
        kept, held = _held_out(files)
        files, test = [files[index] for index in kept], [files[index] for index in held]
    images = _read(files, classes, image_size, channels)
    _read(test or _files(root / "test", classes), classes, SMALL, 1)
    return images


def read_validation(root: Path, image_size: int | None, channels: int | None) -> Images | None:
    """``val/``, or None if there is none."""
    if not (root / "val").is_dir():
        return None
    return _read(_files(root / "val", _training_files(root)[0]), _training_files(root)[0], image_size, channels)


def read_test(root: Path, image_size: int | None, channels: int | None) -> Images:
    """``test/``; without one, a fixed stratified fifth of ``train/``, which read_train leaves out."""
    classes, files = _training_files(root)
    if (root / "test").is_dir():
        files = _files(root / "test", classes)
    else:
        files = [files[index] for index in _held_out(files)[1]]
    return _read(files, classes, image_size, channels)


def count(root: Path) -> dict[str, int]:
    """Class → images in ``train/``, without opening one. Raises DataError as the readers do."""
    classes, files = _training_files(root)
    return {name: sum(label == number for _, label in files) for number, name in enumerate(classes)}


File = tuple[Path, int]


def _held_out(files: Sequence[File]) -> tuple[list[int], list[int]]:
    try:
        kept, held = stratified_split(torch.tensor([label for _, label in files]), TEST_FRACTION, TEST_SEED)
    except DataError as error:
        raise DataError(f"{files[0][0].parent.parent}: {error}; add images, or a test/ folder") from None
    return kept.tolist(), held.tolist()


def _training_files(root: Path) -> tuple[tuple[str, ...], list[File]]:
    folder = root / "train"
    if not folder.is_dir():
        raise DataError(f"image_folder: no folder {folder}; put images into {folder}/CLASS/, one folder a class")
    classes = _class_names(folder)
    if len(classes) < 2:
        found = f"only {classes[0]!r}" if classes else "none"
        raise DataError(f"{folder}: wants at least two class folders, has {found}")
    return classes, _files(folder, classes)


def _class_names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")))


def _files(folder: Path, classes: tuple[str, ...]) -> list[File]:
    """Every image with its class, in a fixed order. Other files are passed over; an empty class folder is refused."""
    present = _class_names(folder)
    faults = [f"{folder / name}: a class that train/ does not have" for name in present if name not in classes]
    files: list[File] = []
    for label, name in enumerate(classes):
        if name not in present:
            faults.append(f"{folder / name}: missing, but train/ has this class")
            continue
        paths = sorted(path for path in (folder / name).rglob("*") if path.suffix.lower() in SUFFIXES)
        if not paths:
            faults.append(f"{folder / name}: empty; wants images ({' '.join(SUFFIXES)})")
        files += [(path, label) for path in paths]
    _refuse(folder, faults)
    return files


def _read(files: Sequence[File], classes: tuple[str, ...], image_size: int | None, channels: int | None) -> Images:
    """Colour unless ``channels`` is 1: a folder's files need not agree on it."""
    paths = [path for path, _ in files]
    try:
        pixels = decode(paths, image_size, channels or 3)
    except Undecodable as error:
        _refuse(paths[0].parent.parent, [f"{paths[index]}: {reason}" for index, reason in error.faults])
        raise
    return Images(pixels, torch.tensor([label for _, label in files]), classes)


def _refuse(folder: Path, faults: list[str]) -> None:
    """One error that names every fault, or the first twenty."""
    if faults:
        more = f"; and {len(faults) - NAMED_FAULTS} more" if len(faults) > NAMED_FAULTS else ""
        raise DataError(f"{folder}: {len(faults)} faults: " + "; ".join(faults[:NAMED_FAULTS]) + more)


DATASETS.register("image_folder", image_size=None, channels=None, classes=None, count=count)(
    Dataset(read_train, read_test, read_validation)
)
