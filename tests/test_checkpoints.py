"""Checkpoints: what survives a crash, a damaged file, a full disk, a hostile file."""

import dataclasses
import logging
import os
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cnnbench.data.images import Images
from cnnbench.data.normalization import Normalization
from cnnbench.training.checkpoints import CheckpointFile
from cnnbench.training.loop import set_seed, train
from cnnbench.training.outcome import EpochMetrics, Trained
from cnnbench.training.recipe import KNOBS, Recipe
from cnnbench.training.weights import WeightsError, load_weights, save_weights
from cnnbench.whole_file import WriteError


class Interrupted(Exception):
    """The training is cut off here."""


def images(count: int, seed: int) -> Images:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 1, 8, 8), generator=generator).to(torch.uint8)
    return Images(pixels, torch.randint(0, 2, (count,), generator=generator), ("a", "b"))


def small_network() -> nn.Module:
    set_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.4), nn.Linear(144, 2)
    )  # fmt: skip


def run(recipe: Recipe, checkpoint: CheckpointFile | None, interrupt_after: int | None = None, **options: Any) -> tuple:
    """Trains six epochs in a fresh network; returns (trained, network, epochs reported)."""
    reported: list[EpochMetrics] = []

    def on_epoch(metrics: EpochMetrics) -> None:
        reported.append(metrics)
        if metrics.epoch == interrupt_after:
            raise Interrupted

    network, training = small_network(), images(48, 0)
    given = {"seed": 0, "epochs": 6, **options}
    try:
        trained: Trained | None = train(
            network, training, images(20, 1), recipe,
            normalization=Normalization.of(training), device=torch.device("cpu"),
            on_epoch=on_epoch, checkpoint=checkpoint, **given,
        )  # fmt: skip
    except Interrupted:
        trained = None
    return trained, network, reported


RECIPE = Recipe(lr=0.05, batch_size=16, crop_padding=1, horizontal_flip=True, random_erasing=0.5)
AVERAGED_AND_MIXED = {"ema_decay": 0.9, "mixup": 0.4, "cutmix": 1.0, "rotation": 15.0, "color_jitter": 0.3}


@pytest.mark.parametrize("optimizer", KNOBS["optimizer"].choices)
@pytest.mark.parametrize(
    "more",
    [{"schedule": "one_cycle"}, {"schedule": "plateau"}, AVERAGED_AND_MIXED],
    ids=["one_cycle", "plateau", "averaged and mixed"],
)
def test_a_resumed_training_equals_an_undisturbed_one_to_the_bit(tmp_path, optimizer, more):
    recipe = dataclasses.replace(RECIPE, optimizer=optimizer, plateau_patience=0, lr=0.01, **more)
    undisturbed, network, _ = run(recipe, None)
    checkpoint = CheckpointFile(tmp_path / "trial.ckpt", every_s=0)
    run(recipe, checkpoint, interrupt_after=4)
    torch.randn(7)  # whatever the process did meanwhile
    told: list[EpochMetrics] = []
    resumed, other, reported = run(recipe, CheckpointFile(checkpoint.path, every_s=0), on_restored=told.append)
    assert [metrics.epoch for metrics in told + reported] == [1, 2, 3, 4, 5, 6]
    assert resumed.resumed_from == 3 and [metrics.epoch for metrics in reported] == [4, 5, 6]
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    for mine, theirs in zip(undisturbed.history, resumed.history, strict=True):
        assert dataclasses.replace(mine, seconds=0) == dataclasses.replace(theirs, seconds=0)
    assert resumed.images == undisturbed.images == 6 * 48


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_finished_training_is_not_done_again(tmp_path, ema_decay):
    recipe = dataclasses.replace(RECIPE, ema_decay=ema_decay)
    checkpoint = CheckpointFile(tmp_path / "trial.ckpt", every_s=0)
    first, network, _ = run(recipe, checkpoint)
    second, other, reported = run(recipe, checkpoint)
    assert reported == [] and second.history == first.history and second.resumed_from == 6
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))
    checkpoint.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tenth", range(10))
def test_a_truncated_checkpoint_is_set_aside_and_the_one_before_is_used(tmp_path, caplog, tenth):
    checkpoint = CheckpointFile(tmp_path / "trial.ckpt", every_s=0)
    checkpoint.save({"epoch": 1}, "same")
    checkpoint.save({"epoch": 2}, "same")
    content = checkpoint.path.read_bytes()
    checkpoint.path.write_bytes(content[: len(content) * tenth // 10])
    with caplog.at_level(logging.WARNING):
        assert checkpoint.load("same") == {"epoch": 1}
    assert "quarantined trial.ckpt as trial.ckpt.damaged (checksum differs" in caplog.text
    assert checkpoint.notes[0].endswith("using trial.ckpt.previous")
    assert (tmp_path / "trial.ckpt.damaged").exists() and not checkpoint.path.exists()
    checkpoint.save({"epoch": 2}, "same")
    assert checkpoint.load("same") == {"epoch": 2}


def test_one_changed_bit_is_seen_and_without_an_earlier_state_training_starts_afresh(tmp_path):
    checkpoint = CheckpointFile(tmp_path / "trial.ckpt", every_s=0)
    run(RECIPE, checkpoint, interrupt_after=2)
    content = bytearray(checkpoint.path.read_bytes())
    content[len(content) // 2] ^= 1
    checkpoint.path.write_bytes(content)
    trained, _, reported = run(RECIPE, checkpoint)
    assert trained.resumed_from == 0 and len(reported) == 6


@pytest.mark.parametrize(
    "change",
    [{"recipe": dataclasses.replace(RECIPE, lr=0.06)}, {"seed": 1}, {"epochs": 7}],
    ids=["recipe", "seed", "epochs"],
)
def test_a_checkpoint_of_another_configuration_is_not_continued(tmp_path, caplog, change):
    checkpoint = CheckpointFile(tmp_path / "trial.ckpt", every_s=0)
    run(RECIPE, checkpoint, interrupt_after=3)
    recipe = change.pop("recipe", RECIPE)
    with caplog.at_level(logging.WARNING):
        trained, _, _ = run(recipe, checkpoint, **change)
    assert trained.resumed_from == 0 and "belongs to another configuration" in caplog.text


def test_a_short_training_writes_no_checkpoint(tmp_path):
    run(RECIPE, CheckpointFile(tmp_path / "trial.ckpt", every_s=3600))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_reported_with_path_and_size_and_leaves_the_last_checkpoint(tmp_path):
    checkpoint = CheckpointFile(tmp_path / "trial.ckpt", every_s=0)
    checkpoint.save({"epoch": 1}, "same")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # larger files fail as on a full disk
    try:
        with pytest.raises(WriteError, match=r"trial.ckpt: could not write \d{7} bytes: File too large"):
            checkpoint.save({"weights": torch.zeros(1_000_000)}, "same")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [file.name for file in tmp_path.iterdir()] == ["trial.ckpt"]
    assert checkpoint.load("same") == {"epoch": 1}


class Exploit:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


def test_a_hostile_weights_file_runs_no_code(tmp_path):
    torch.save({"weight": Exploit(tmp_path / "marker")}, tmp_path / "hostile.pt")
    with pytest.raises(WeightsError, match=r"hostile.pt: .*[Ww]eights.only"):
        load_weights(nn.Linear(2, 2), tmp_path / "hostile.pt")
    assert not (tmp_path / "marker").exists()


def test_a_hostile_checkpoint_runs_no_code(tmp_path):
    checkpoint = CheckpointFile(tmp_path / "trial.ckpt", every_s=0)
    checkpoint.save({"state": Exploit(tmp_path / "marker")}, "same")  # with a right checksum
    assert checkpoint.load("same") is None
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ["best.pt", "best.safetensors"])
def test_weights_come_back_equal_from_either_format(tmp_path, name):
    if name.endswith(".safetensors"):
        pytest.importorskip("safetensors")
    network, other = small_network().to(memory_format=torch.channels_last), small_network()
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    save_weights(network, tmp_path / name)
    load_weights(other, tmp_path / name)
    for key, tensor in network.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[key])
    assert [file.name for file in tmp_path.iterdir()] == [name]
    with pytest.raises(WeightsError, match=r"(?s)best.*Missing key"):
        load_weights(nn.Linear(3, 3), tmp_path / name)
