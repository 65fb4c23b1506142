"""Data sets, splits, normalisation and batches."""

import gzip
import io
import socket
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnnbench.data import sources
from cnnbench.data.augmentation import Augmentation
from cnnbench.data.batches import Batches, images_from_arrays
from cnnbench.data.image_normalization import Normalization
from cnnbench.data.images import Images
from cnnbench.data.readers import DATASETS
from cnnbench.data.readers.cifar10 import CLASSES as CIFAR10_CLASSES
from cnnbench.data.resize import fit, with_channels
from cnnbench.data.seeds import derived_seed
from cnnbench.data.sources import DataError, data_root, download
from cnnbench.data.splits import split_checksum, stratified_limit, stratified_split
from cnnbench.data.warp import Warp

CPU = torch.device("cpu")
PLAIN = Normalization((0.0,), (1 / 255,))  # leaves the pixels' values


def numbered(count: int) -> Images:
    """Image i is one pixel of value i."""
    pixels = torch.arange(count, dtype=torch.uint8).view(count, 1, 1, 1)
    return Images(pixels, torch.arange(count) % 2, ("even", "odd"))


# Data sets


def test_digits_are_split_once_and_for_all_into_disjoint_stratified_parts():
    train, test = DATASETS["digits"].thing.load_train(), DATASETS["digits"].thing.load_test()
    assert (len(train), len(test)) == (1438, 359)
    assert test.labels.bincount().tolist() == [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]
    assert train.pixels.shape[1:] == (1, 8, 8) and int(train.pixels.max()) == 255
    assert not set(map(bytes, train.pixels.numpy())) & set(map(bytes, test.pixels.numpy()))


def test_every_data_set_gives_the_size_and_channels_asked_for():
    images = DATASETS["digits"].thing.load_train(image_size=16, channels=3)
    assert images.pixels.shape == (1438, 3, 16, 16) and images.pixels.dtype == torch.uint8
    assert DATASETS["digits"].thing.load_validation() is None


def test_fake_images_are_the_same_everywhere_differ_between_the_splits_and_can_be_learned():
    train, test = DATASETS["fake"].thing.load_train(), DATASETS["fake"].thing.load_test()
    assert (train.checksum()[:16], test.checksum()[:16]) == ("70b70e446c08729f", "cf725634cd624313")
    assert train.labels.bincount().tolist() == [200] * 10 and test.labels.bincount().tolist() == [50] * 10
    assert not set(map(bytes, train.pixels.numpy())) & set(map(bytes, test.pixels.numpy()))
    means = torch.stack([train.pixels[train.labels == label].double().mean(0) for label in range(10)])
    nearest = torch.cdist(test.pixels.double().flatten(1), means.flatten(1)).argmin(1)
    assert (nearest == test.labels).double().mean() > 0.95


def write_idx(folder: Path, split: str, labels: list[int], gz: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    count = len(labels)
    files = {
        f"{split}-labels-idx1-ubyte": b"\0\0\x08\x01" + struct.pack(">I", count) + bytes(labels),
        f"{split}-images-idx3-ubyte": b"\0\0\x08\x03" + struct.pack(">III", count, 2, 3) + bytes(range(6 * count)),
    }
    for name, content in files.items():
        if gz:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


FASHION_LABELS = {"train": [9, 0, 0, 3, 0, 2, 7, 2, 5, 5], "t10k": [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]}
MNIST_LABELS = {"train": [5, 0, 4, 1, 9, 2, 1, 3, 1, 4], "t10k": [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]}


@pytest.mark.parametrize("folder", ["FashionMNIST/raw", "fashion-mnist", "."])
@pytest.mark.parametrize("gz", [True, False])
def test_fashion_mnist_is_read_from_idx_files_where_they_lie(tmp_path, folder, gz):
    write_idx(tmp_path / folder, "train", FASHION_LABELS["train"], gz)
    images = DATASETS["fashion_mnist"].thing.load_train(tmp_path)
    assert images.labels.tolist() == FASHION_LABELS["train"]
    assert images.pixels[1, 0].tolist() == [[6, 7, 8], [9, 10, 11]]
    assert images.classes[9] == "Ankle boot"


def test_training_images_are_read_without_the_test_files_being_there(tmp_path, monkeypatch):
    write_idx(tmp_path / "MNIST" / "raw", "train", MNIST_LABELS["train"], gz=False)
    assert len(DATASETS["mnist"].thing.load_train(tmp_path)) == 10
    write_idx(tmp_path / "MNIST" / "raw", "t10k", MNIST_LABELS["t10k"], gz=False)
    assert DATASETS["mnist"].thing.load_test(tmp_path).labels.tolist() == MNIST_LABELS["t10k"]


def test_mnist_is_not_taken_for_fashion_mnist_although_its_file_names_are_equal(tmp_path, monkeypatch):
    from torchvision import datasets

    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    write_idx(tmp_path, "t10k", MNIST_LABELS["t10k"], gz=True)
    assert len(DATASETS["mnist"].thing.load_test(tmp_path)) == 10
    if Path("/usr/share/datasets/fashion-mnist").exists():  # Debian's dataset-fashion-mnist
        assert len(DATASETS["fashion_mnist"].thing.load_test(tmp_path)) == 10_000
    else:
        with pytest.raises(DataError, match="fashion_mnist: not found"):
            DATASETS["fashion_mnist"].thing.load_test(tmp_path)


@pytest.mark.parametrize("tenth", range(10))
def test_a_truncated_idx_file_is_named(tmp_path, tenth):
    write_idx(tmp_path, "train", MNIST_LABELS["train"], gz=False)
    file = tmp_path / "train-images-idx3-ubyte"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * tenth // 10])
    with pytest.raises(DataError, match="train-images-idx3-ubyte: not a whole idx file"):
        DATASETS["mnist"].thing.load_train(tmp_path)


def png(value: int, size: tuple[int, int] = (32, 32)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (value, 0, 255)).save(buffer, "PNG")
    return buffer.getvalue()


def write_parquet(file: Path, images: list[bytes], labels: list[int], names: tuple[str, ...] = CIFAR10_CLASSES) -> None:
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"img": [{"bytes": image, "path": None} for image in images], "label": labels})
    info = {"info": {"features": {"label": {"names": names}}}}
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(info)}), file)


@pytest.mark.parametrize("folder", [".", "cifar10", "cifar10/plain_text", "cifar10-jpeg"])
def test_cifar10_is_read_from_parquet_files(tmp_path, folder):
    write_parquet(tmp_path / folder / "train-00000-of-00002.parquet", [png(1), png(2)], [3, 0])
    write_parquet(tmp_path / folder / "train-00001-of-00002.parquet", [png(3)], [9])
    images = DATASETS["cifar10"].thing.load_train(tmp_path)
    assert images.labels.tolist() == [3, 0, 9]
    assert images.pixels[:, :, 5, 5].tolist() == [[1, 0, 255], [2, 0, 255], [3, 0, 255]]


def test_a_parquet_file_of_other_classes_or_with_a_broken_image_is_refused(tmp_path):
    file = tmp_path / "test-0.parquet"
    write_parquet(file, [png(1)], [0], names=("cat", "dog"))
    with pytest.raises(DataError, match=r"test-0.parquet: its classes are cat, dog, not airplane"):
        DATASETS["cifar10"].thing.load_test(tmp_path)
    write_parquet(file, [png(1), png(2)[:60]], [0, 1])
    with pytest.raises(DataError, match=r"test-0.parquet: 1 images can't be decoded \(row 1: "):
        DATASETS["cifar10"].thing.load_test(tmp_path)
    file.write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"test-0.parquet: not a readable parquet file"):
        DATASETS["cifar10"].thing.load_test(tmp_path)


def write_folder(root: Path, counts: dict[str, int], size: tuple[int, int] = (12, 8)) -> None:
    for number, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for index in range(count):
            (root / name / f"{index}.png").write_bytes(png(10 * number + index, size))


def test_an_image_folder_gives_its_three_splits(tmp_path):
    write_folder(tmp_path / "train", {"cat": 3, "dog": 2})
    write_folder(tmp_path / "val", {"cat": 1, "dog": 1})
    write_folder(tmp_path / "test", {"cat": 1, "dog": 2})
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no image")
    dataset = DATASETS["image_folder"].thing
    train, test = dataset.load_train(tmp_path, image_size=4), dataset.load_test(tmp_path, image_size=4, channels=1)
    assert train.classes == ("cat", "dog") and train.labels.tolist() == [0, 0, 0, 1, 1]
    assert train.pixels[:, :, 2, 2].tolist() == [[value, 0, 255] for value in (0, 1, 2, 10, 11)]
    assert dataset.load_validation(tmp_path, image_size=4).labels.tolist() == [0, 1]
    assert test.labels.tolist() == [0, 1, 1] and test.pixels.shape == (3, 1, 4, 4)


def test_without_a_test_folder_a_fifth_of_train_is_the_test_split_and_nobody_trains_on_it(tmp_path):
    write_folder(tmp_path / "train", {"cat": 5, "dog": 10})
    dataset = DATASETS["image_folder"].thing
    train, test = dataset.load_train(tmp_path, image_size=4), dataset.load_test(tmp_path, image_size=4)
    assert test.labels.tolist() == [0, 1, 1] and len(train) == 12
    both = torch.cat([train.pixels, test.pixels])[:, 0, 0, 0]
    assert sorted(both.tolist()) == list(range(5)) + list(range(10, 20))
    assert dataset.load_validation(tmp_path, image_size=4) is None


def test_a_bad_image_folder_is_refused_in_one_error_that_names_the_files(tmp_path):
    dataset = DATASETS["image_folder"].thing
    with pytest.raises(DataError, match=r"no folder .*/train; put images"):
        dataset.load_train(tmp_path)
    write_folder(tmp_path / "train", {"cat": 3})
    with pytest.raises(DataError, match="at least two class folders, has only 'cat'"):
        dataset.load_train(tmp_path)
    (tmp_path / "train" / "dog").mkdir()
    with pytest.raises(DataError, match=r"train/dog: empty"):
        dataset.load_train(tmp_path)
    (tmp_path / "train" / "dog" / "zero.png").write_bytes(b"")
    (tmp_path / "train" / "dog" / "half.png").write_bytes(png(1)[:70])
    (tmp_path / "train" / "dog" / "whole.png").write_bytes(png(1))
    write_folder(tmp_path / "test", {"cat": 1, "dog": 1, "bird": 1})
    with pytest.raises(DataError, match=r"2 faults: .*dog/half.png: .*; .*dog/zero.png: "):
        dataset.load_train(tmp_path, image_size=8)
    with pytest.raises(DataError, match=r"test/bird: a class that train/ does not have"):
        dataset.load_test(tmp_path, image_size=8)


def test_images_of_several_sizes_need_an_image_size(tmp_path):
    write_folder(tmp_path / "train", {"cat": 2, "dog": 2})
    write_folder(tmp_path / "test", {"cat": 1, "dog": 1})
    (tmp_path / "train" / "cat" / "1.png").write_bytes(png(1, (9, 9)))
    with pytest.raises(DataError, match=r"cat/1.png: 9×9 pixels, the first image has 12×8: give an image size"):
        DATASETS["image_folder"].thing.load_train(tmp_path)


def test_the_data_root_is_the_argument_then_the_environment_then_a_cache(monkeypatch):
    monkeypatch.setenv("CNNBENCH_DATA", "/somewhere")
    assert data_root("/given") == Path("/given") and data_root() == Path("/somewhere")
    monkeypatch.delenv("CNNBENCH_DATA")
    assert data_root() == Path.home() / ".cache" / "cnnbench" / "data"


def test_missing_data_is_one_error_that_says_what_was_looked_for_and_where(tmp_path):
    with pytest.raises(DataError) as caught:
        download("pets", lambda: None, ["http://127.0.0.1:9/pets.tar"], tmp_path, ["pets.tar in /a", "pets in /b"])
    assert "Connection refused" in str(caught.value)
    assert "Looked for pets.tar in /a; pets in /b. Put the files in one of these places" in str(caught.value)


def test_a_server_that_never_answers_does_not_hold_the_download(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CONNECT_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/pets.tar"
        with pytest.raises(DataError, match="timed out"):
            download("pets", lambda: None, [url], tmp_path, ["pets.tar in /a"])


# Size, channels, normalisation


def test_grey_is_the_luma_of_colour_and_colour_of_grey_is_three_times_the_same():
    colour = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=torch.uint8).view(3, 3, 1, 1)
    assert with_channels(colour, 1).flatten().tolist() == [76, 150, 29]
    assert with_channels(colour[:1, :1], 3).flatten().tolist() == [255, 255, 255]
    with pytest.raises(ValueError, match="choose 1"):
        with_channels(colour, 2)


def test_resizing_down_averages_and_nothing_is_touched_that_fits():
    pixels = torch.tensor([[0, 100], [200, 100]], dtype=torch.uint8).view(1, 1, 2, 2)
    images = Images(pixels, torch.zeros(1, dtype=torch.int64), ("a",))
    assert fit(images, 1, None).pixels.item() == 100
    assert fit(images, 2, 1) is images


def test_normalization_has_the_pixels_own_mean_and_deviation():
    pixels = torch.randint(0, 256, (50, 3, 4, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    normalization = Normalization.of(Images(pixels, torch.zeros(50, dtype=torch.int64), ("a",)))
    values = pixels.double() / 255
    assert normalization.mean == pytest.approx(values.mean((0, 2, 3)).tolist(), abs=1e-12)
    assert normalization.std == pytest.approx(values.std((0, 2, 3), correction=0).tolist(), abs=1e-12)
    result = normalization.apply(pixels)
    assert result.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert result.std((0, 2, 3), correction=0).tolist() == pytest.approx([1, 1, 1], abs=1e-5)


def test_normalization_of_a_constant_channel_stays_finite():
    black = Images(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), ("a",))
    assert Normalization.of(black).apply(black.pixels).tolist() == torch.zeros(3, 1, 2, 2).tolist()


# Splits


def test_a_split_is_stratified_disjoint_whole_and_named_by_its_seed():
    labels = torch.tensor([0] * 10 + [1] * 20 + [2] * 2)
    kept, held = stratified_split(labels, 0.2, seed=3)
    assert labels[held].bincount().tolist() == [2, 4, 1]
    assert sorted(kept.tolist() + held.tolist()) == list(range(32))
    assert split_checksum(kept, held) == split_checksum(*stratified_split(labels, 0.2, seed=3))
    assert split_checksum(kept, held) != split_checksum(*stratified_split(labels, 0.2, seed=4))


def test_a_seed_means_the_same_split_on_every_machine():
    assert stratified_split(torch.arange(20) % 2, 0.3, seed=1)[1].tolist() == [4, 7, 11, 12, 18, 19]
    assert derived_seed(0, "batches", 1) == 5609146539946556245


def test_a_split_that_can_not_be_made_is_refused():
    with pytest.raises(DataError, match="class 1 has one image"):
        stratified_split(torch.tensor([0, 0, 1]), 0.5, seed=0)
    with pytest.raises(ValueError, match="fraction: 1; choose a number between 0 and 1"):
        stratified_split(torch.tensor([0, 0]), 1.0, seed=0)


def test_a_limit_takes_exactly_so_many_images_with_every_class_in_its_share():
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)
    taken = stratified_limit(labels, 11, seed=0)
    assert labels[taken].bincount().tolist() == [6, 3, 2]  # 5.5, 3.3 and 2.2: the largest remainder gets the odd one
    assert len(set(taken.tolist())) == 11
    assert stratified_limit(labels, 1000, seed=0).tolist() == list(range(100))


# Batches


def test_an_epoch_shows_each_image_once_in_an_order_that_seed_and_epoch_fix():
    def order(seed: int, epoch: int) -> list[float]:
        batches = Batches(numbered(12), 4, PLAIN, device=CPU, seed=seed)
        return torch.cat([batch.inputs for batch in batches.epoch(epoch)]).flatten().round().tolist()

    assert sorted(order(0, 1)) == list(range(12))
    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2) != order(1, 2)


def test_labels_stay_with_their_images():
    for inputs, labels, *_ in Batches(numbered(12), 5, PLAIN, device=CPU).epoch(1):
        assert (inputs.flatten().round().long() % 2).tolist() == labels.tolist()


def test_a_last_batch_that_is_not_full_is_left_out_unless_it_is_the_only_one():
    def sizes(batch_size: int) -> list[int]:
        return [len(batch.labels) for batch in Batches(numbered(10), batch_size, PLAIN, device=CPU).epoch(1)]

    assert sizes(4) == [4, 4] and sizes(10) == [10] and sizes(64) == [10]
    assert len(Batches(numbered(10), 4, PLAIN, device=CPU)) == 2


@pytest.mark.parametrize("ranks", [2, 3])
def test_several_ranks_see_the_same_batches_and_augmentation_as_one(ranks):
    pixels = torch.randint(0, 256, (20, 1, 6, 6), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    images = Images(pixels, torch.arange(20) % 2, ("a", "b"))
    augmentation = Augmentation(
        crop_padding=2, horizontal_flip=True, random_erasing=0.5, cutout=2, warp=Warp(rotation=20.0), color_jitter=0.3
    )

    def batches(rank: int, ranks: int) -> list:
        made = Batches(images, 8, PLAIN, device=CPU, augmentation=augmentation, rank=rank, ranks=ranks)
        return list(made.epoch(1))

    for whole, *parts in zip(batches(0, 1), *(batches(rank, ranks) for rank in range(ranks)), strict=True):
        assert [part.total for part in parts] == [8] * ranks
        for rank, part in enumerate(parts):
            assert torch.equal(part.inputs, whole.inputs[rank::ranks])
            assert torch.equal(part.labels, whole.labels[rank::ranks])


def test_evaluation_batches_cover_all_images_once_over_all_ranks_in_order():
    seen = []
    for rank in range(3):
        for batch in Batches(numbered(10), 6, PLAIN, device=CPU, rank=rank, ranks=3).in_order():
            assert len(batch.labels) <= 2
            seen += batch.inputs.flatten().round().tolist()
    assert seen == list(range(10))


def test_a_batch_smaller_than_the_number_of_workers_is_refused():
    with pytest.raises(ValueError, match="batch_size: 2 images for 3 workers"):
        next(Batches(numbered(10), 2, PLAIN, device=CPU, rank=0, ranks=3).epoch(1))


def test_channels_last_changes_the_layout_and_not_the_values():
    images = Images(torch.randint(0, 256, (4, 3, 5, 5)).to(torch.uint8), torch.zeros(4, dtype=torch.int64), ("a",))
    normalization = Normalization.of(images)
    plain = next(Batches(images, 4, normalization, device=CPU).epoch(1)).inputs
    last = next(Batches(images, 4, normalization, device=CPU, channels_last=True).epoch(1)).inputs
    assert last.is_contiguous(memory_format=torch.channels_last) and torch.equal(plain, last)


def test_images_from_read_only_arrays_share_their_memory_and_warn_of_nothing():
    pixels, labels = np.zeros((2, 1, 3, 3), np.uint8), np.zeros(2, np.int64)
    pixels.flags.writeable = labels.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = images_from_arrays(pixels, labels, ("a",))
    assert images.pixels.data_ptr() == pixels.ctypes.data
    assert len(list(Batches(images, 1, PLAIN, device=CPU).epoch(1))) == 2
