"""Trials of two DDP workers on a real Ray, one after another: the ranks stay from trial to trial. One is called off,
one loses a rank, one raises, and of one the driver is slow to fetch what it reports last."""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from ray.util import placement_group, remove_placement_group
from torch import Tensor, nn

from cnnbench.data.image_normalization import Normalization
from cnnbench.data.images import Images
from cnnbench.distributed import cluster
from cnnbench.distributed.ddp import distributed_trials
from cnnbench.distributed.placements import waited_for
from cnnbench.distributed.tune import run_stage
from cnnbench.ledger import Split
from cnnbench.networks.spec import NetworkSpec
from cnnbench.study import Resources
from cnnbench.trial.images import TrialImages
from cnnbench.trial.spec import Progress, TrialImagesRef, TrialSpec

pytestmark = pytest.mark.ray

EPOCHS = 2
ORDINARY, CALLED_OFF, AFTER_IT, LOSES_A_RANK, RAISES = "t0", "t1", "t2", "t3", "t4"
FOLDER = "CNNBENCH_TEST_FOLDER"  # its file "fault" says what rank 1 is to do, "builds" which processes built a network


class Faulty(nn.Sequential):
    """Rank 1 does in its next training step what the file says, once."""

    def forward(self, x: Tensor) -> Tensor:
        fault = Path(os.environ[FOLDER]) / "fault"
        if self.training and os.environ["RANK"] == "1" and (wanted := fault.read_text()):
            fault.write_text("")
            if wanted == LOSES_A_RANK:
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("so that it fails")
        output: Tensor = super().forward(x)
        return output


def network(num_classes: int, in_channels: int) -> nn.Module:
    with (Path(os.environ[FOLDER]) / "builds").open("a") as builds:
        builds.write(f"{os.environ['RANK']} {os.getpid()}\n")
    return Faulty(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * in_channels, num_classes))


class Stage:
    """Five trials. One is called off after its first epoch; another's last epoch takes the driver 10 seconds."""

    name = "ddp"

    def __init__(self, folder: Path) -> None:
        self.left = [_spec(folder, name) for name in (ORDINARY, CALLED_OFF, AFTER_IT, LOSES_A_RANK, RAISES)]
        self.folder = folder
        self.waited_for: str | None = None
        self.ended: dict[str, tuple[str, str, int]] = {}
        self.epochs: dict[str, list[int]] = {}

    def ask(self) -> TrialSpec | None:
        return self.left.pop(0) if self.left else None

    def started(self, progress: Progress) -> None:
        trial = progress.spec.trial_id
        (self.folder / "fault").write_text(trial if trial in (LOSES_A_RANK, RAISES) else "")

    def retried(self, progress: Progress, reason: str) -> None:
        assert reason.startswith("its workers were lost"), reason

    def note(self, progress: Progress, text: str) -> None: ...

    def report(self, progress: Progress, point: Mapping[str, Any]) -> str | None:
        trial = progress.spec.trial_id
        self.epochs.setdefault(trial, []).append(point["epoch"])
        if trial == CALLED_OFF:
            return "called off"
        if trial == ORDINARY and point["epoch"] == EPOCHS:
            time.sleep(10.0)  # its ranks have long asked for the next one then
        return None

    def finish(self, progress: Progress, status: str, reason: str, end: Mapping[str, Any]) -> None:
        assert progress.spec.trial_id not in self.ended
        self.ended[progress.spec.trial_id] = (status, reason, progress.retries)

    def processes(self, rank: int) -> list[int]:
        """Those that built this rank's networks, in order."""
        builds = [line.split() for line in (self.folder / "builds").read_text().splitlines()]
        return [int(process) for of, process in builds if int(of) == rank]


def _spec(folder: Path, name: str) -> TrialSpec:
    return TrialSpec(
        trial_id=name, stage="search", scores_on="validation", index=0, row="a",
        network=NetworkSpec(f"{__name__}:network", classes=2, channels=1, image_size=16), left_out=(),
        hyperparameters={"lr": 0.01, "batch_size": 16}, seed=0, epochs=EPOCHS, stop_epoch=None, precision="fp32",
        channels_last=False, workers=2, cpus=1, gpus=0, checkpoint=str(folder / f"{name}.ckpt"), checkpoint_every_s=60,
    )  # fmt: skip


def _material() -> TrialImages:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 1, 16, 16), np.uint8)
    labels = np.arange(32) % 2
    split = Split(dataset="digits", train=32, validation=32, test=None, seed=0, data_checksum="a", split_checksum="b")
    images = Images(torch.from_numpy(pixels), torch.from_numpy(labels), ("a", "b"))
    return TrialImages(pixels, labels, pixels, labels, images.classes, Normalization.of(images), split)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The stage, run to its end on the two CPUs of a local Ray."""
    folder = tmp_path_factory.mktemp("ddp")
    stage = Stage(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER, str(folder))  # Ray's processes inherit both
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        with cluster.connected(Resources(cluster="local"), folder / "ray.log"):
            too_much = placement_group([{"CPU": 500.0}, {"CPU": 500.0}])
            stage.waited_for = waited_for()
            remove_placement_group(too_much)
            ref = TrialImagesRef(ray.put(_material()))
            placement = cluster.Share(workers=2, cpus=1, gpus=0).placement()
            run_stage(
                stage, distributed_trials(ref, str(folder / "train")), resources=placement, concurrent=1,
                folder=folder / "tune", interrupted=threading.Event(), say=lambda line: print(line, file=sys.stderr),
            )  # fmt: skip
    return stage


def test_what_is_waited_for_is_said_in_cpus(stage):
    assert re.fullmatch(r"1000 CPUs are wanted, (\d+) of \1 are free", stage.waited_for)


def test_every_trial_ends_once(stage):
    assert set(stage.ended) == {ORDINARY, CALLED_OFF, AFTER_IT, LOSES_A_RANK, RAISES}


def test_the_ranks_stay_from_trial_to_trial_until_one_is_lost(stage):
    for rank in (0, 1):
        first, *others = stage.processes(rank)
        assert others[:3] == [first] * 3, "four trials, the last of which loses a rank"
        again, *others = others[3:]
        assert again != first and others == [again], "that one once more, and the last"


def test_a_trial_that_is_called_off_makes_way_for_the_next(stage):
    assert stage.ended[CALLED_OFF] == ("pruned", "after epoch 1, called off", 0)
    assert stage.ended[AFTER_IT] == ("completed", "", 0) and stage.epochs[AFTER_IT] == [1, 2]


def test_a_trial_that_loses_a_rank_is_run_again(stage):
    assert stage.ended[LOSES_A_RANK] == ("completed", "", 1) and stage.epochs[LOSES_A_RANK] == [1, 2]


def test_a_trial_that_raises_on_one_rank_is_not(stage):
    assert stage.ended[RAISES] == ("failed", "ValueError: so that it fails", 0)


def test_a_slow_driver_hears_the_end_of_a_trial_whose_ranks_wait_for_the_next(stage):
    assert stage.ended[ORDINARY] == ("completed", "", 0) and stage.epochs[ORDINARY] == [1, 2]
