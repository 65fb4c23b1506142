"""Networks for the fault matrix, which a study file names as ``faulty_networks:NAME``: one that takes its time, so that
a fault can hit it in the middle, and one whose training fails in a way that its batch size chooses."""

import os
import signal
import time

import torch
from torch import Tensor, nn

HOLD = "CNNBENCH_FAULTS_HOLD"
STEP_S = 0.03  # of a paced training step
FITS, RAISES, DIES, TOO_LARGE = 32, 33, 34, 35  # batch sizes of Failing


class _Layers(nn.Sequential):
    def __init__(self, num_classes: int, in_channels: int) -> None:
        pool = nn.AdaptiveAvgPool2d(4)
        super().__init__(
            nn.Conv2d(in_channels, 8, 3, padding=1), nn.ReLU(), pool, nn.Flatten(), nn.Linear(128, num_classes)
        )


class Paced(_Layers):
    """Each step of its training takes STEP_S seconds longer; none ends while the file that HOLD names is there."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            time.sleep(STEP_S)
            while os.path.exists(os.environ.get(HOLD, "")):
                time.sleep(STEP_S)
        output: Tensor = super().forward(x)
        return output


class Failing(Paced):
    """Trains with FITS images a batch. With RAISES it has a fault of its own, with DIES its process is killed, and
    TOO_LARGE is too large for its device."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) == RAISES:
            raise ValueError("a fault of the network's own")
        if self.training and len(x) == DIES:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.training and len(x) == TOO_LARGE:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        output: Tensor = super().forward(x)
        return output


def paced(num_classes: int, in_channels: int) -> nn.Module:
    return Paced(num_classes, in_channels)


def failing(num_classes: int, in_channels: int) -> nn.Module:
    return Failing(num_classes, in_channels)
