"""Trials of two DDP workers on a real Ray, one after another: one is called off, one loses a rank, and the driver is
slow to fetch what they report last."""

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
from ray import tune as ray_tune
from ray.util import placement_group, remove_placement_group
from torch import Tensor, nn

from cnnbench.data.images import Images
from cnnbench.data.normalization import Normalization
from cnnbench.distributed import cluster
from cnnbench.distributed.ddp import distributed_trial
from cnnbench.distributed.material import Material
from cnnbench.distributed.placements import waited_for
from cnnbench.distributed.spec import Progress, TrialSpec
from cnnbench.distributed.trial import MaterialRef
from cnnbench.distributed.tune import run_stage
from cnnbench.ledger import Split
from cnnbench.study import Resources

pytestmark = pytest.mark.ray

EPOCHS = 2
CALLED_OFF, LOSES_A_RANK, ORDINARY = "t0", "t1", "t2"
MARK = "CNNBENCH_TEST_DEATH"  # the file that says that a rank has died before


class Dying(nn.Sequential):
    """Rank 1's process dies in its first training step, unless the file that MARK names is missing or filled."""

    def forward(self, x: Tensor) -> Tensor:
        mark = Path(os.environ[MARK])
        if self.training and os.environ.get("RANK") == "1" and mark.exists() and not mark.read_text():
            mark.write_text("died")
            os.kill(os.getpid(), signal.SIGKILL)
        output: Tensor = super().forward(x)
        return output


def network(num_classes: int, in_channels: int) -> nn.Module:
    return Dying(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * in_channels, num_classes))


class Stage:
    """Three trials. The first is called off after an epoch; the others' last epoch takes the driver 10 seconds."""

    name = "ddp"

    def __init__(self, folder: Path) -> None:
        self.left = [_spec(folder, name) for name in (CALLED_OFF, LOSES_A_RANK, ORDINARY)]
        self.mark = folder / "death"
        self.waited_for: str | None = None
        self.ended: dict[str, tuple[str, str, int]] = {}
        self.epochs: dict[str, list[int]] = {}

    def ask(self) -> TrialSpec | None:
        return self.left.pop(0) if self.left else None

    def started(self, progress: Progress) -> None:
        if progress.spec.trial_id == LOSES_A_RANK:
            self.mark.touch()

    def retried(self, progress: Progress, reason: str) -> None:
        assert reason.startswith("its workers were lost"), reason

    def note(self, progress: Progress, text: str) -> None: ...

    def report(self, progress: Progress, point: Mapping[str, Any]) -> str | None:
        trial = progress.spec.trial_id
        self.epochs.setdefault(trial, []).append(point["epoch"])
        if trial == CALLED_OFF:
            return "called off"
        if point["epoch"] == EPOCHS:
            time.sleep(10.0)  # its workers are gone by then, and its last report not yet fetched
        return None

    def finish(self, progress: Progress, status: str, reason: str, end: Mapping[str, Any]) -> None:
        assert progress.spec.trial_id not in self.ended
        self.ended[progress.spec.trial_id] = (status, reason, progress.retries)


def _spec(folder: Path, name: str) -> TrialSpec:
    return TrialSpec(
        trial_id=name, stage="search", index=0, row="a", architecture=f"{__name__}:network", width=1.0, depth=1.0,
        stem="auto", image_size=16, components={}, left_out=(), hyperparameters={"lr": 0.01, "batch_size": 16}, seed=0,
        epochs=EPOCHS, stop_epoch=None, precision="fp32", channels_last=False, workers=2, cpus=1, gpus=0,
        checkpoint=str(folder / f"{name}.ckpt"), checkpoint_every_s=60,
    )  # fmt: skip


def _material() -> Material:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 1, 16, 16), np.uint8)
    labels = np.arange(32) % 2
    split = Split(dataset="digits", train=32, validation=32, test=None, seed=0, data_checksum="a", split_checksum="b")
    images = Images(torch.from_numpy(pixels), torch.from_numpy(labels), ("a", "b"))
    return Material(pixels, labels, pixels, labels, images.classes, Normalization.of(images), split)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The stage, run to its end on the two CPUs of a local Ray."""
    folder = tmp_path_factory.mktemp("ddp")
    stage = Stage(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MARK, str(stage.mark))  # Ray's processes inherit both
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        with cluster.connected(Resources(cluster="local"), folder / "ray.log"):
            too_much = placement_group([{"CPU": 500.0}, {"CPU": 500.0}])
            stage.waited_for = waited_for()
            remove_placement_group(too_much)
            ref = MaterialRef(ray.put(_material()))
            trainable = ray_tune.with_parameters(distributed_trial, material=ref, storage=str(folder / "train"))
            placement = cluster.Share(workers=2, cpus=1, gpus=0).placement()
            run_stage(
                stage, trainable, resources=placement, concurrent=1, reuse=False, folder=folder / "tune",
                interrupted=threading.Event(), say=lambda line: print(line, file=sys.stderr),
            )  # fmt: skip
    return stage


def test_what_is_waited_for_is_said_in_cpus(stage):
    assert re.fullmatch(r"1000 CPUs are wanted, (\d+) of \1 are free", stage.waited_for)


def test_a_trial_that_is_called_off_gives_its_places_to_the_next(stage):
    assert stage.ended[CALLED_OFF] == ("pruned", "after epoch 1, called off", 0)
    assert set(stage.ended) == {CALLED_OFF, LOSES_A_RANK, ORDINARY}


def test_a_trial_that_loses_a_rank_is_run_again(stage):
    assert stage.mark.read_text() == "died"
    assert stage.ended[LOSES_A_RANK] == ("completed", "", 1) and stage.epochs[LOSES_A_RANK] == [1, 2]


def test_a_slow_driver_hears_the_end_of_a_trial_whose_workers_are_gone_by_then(stage):
    assert stage.ended[ORDINARY] == ("completed", "", 0) and stage.epochs[ORDINARY] == [1, 2]
