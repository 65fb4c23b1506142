"""Running sums of an epoch's loss and accuracy, read from the device as seldom as divergence allows."""

import math

import torch
from torch import Tensor

from cnnbench.ranks import Ranks
from cnnbench.training.outcome import Diverged

STEPS_BETWEEN_READS = 16  # on a GPU, or over ranks, each read makes the device or the other ranks wait


class Tally:
    """The sums of one epoch. On one CPU worker each loss is checked at once, elsewhere every 16 steps and at the end;
    the step named is the true one either way, and all ranks raise together."""

    def __init__(self, epoch: int, first_step: int, device: torch.device, ranks: Ranks) -> None:
        self.epoch, self.step, self.ranks = epoch, first_step, ranks
        self.every = 1 if device.type == "cpu" and ranks.size == 1 else STEPS_BETWEEN_READS
        self.loss, self.right, self.images = 0.0, 0.0, 0
        self._pending: list[Tensor] = []

    def add(self, loss: Tensor, right: Tensor, images: int, total: int) -> None:
        """One batch: this rank's mean loss, how many of its ``images`` were called right, and the images over all
        ranks. Raises Diverged."""
        self._pending.append(torch.stack([loss.detach() * images, right.to(loss.dtype)]))
        self.images += total
        if len(self._pending) >= self.every:
            self.read()

    def read(self) -> None:
        """Brings what is pending over from the device. Raises Diverged at the first loss that is not finite."""
        if not self._pending:
            return
        sums = self.ranks.sum(torch.stack(self._pending)).tolist()
        self._pending.clear()
        for loss, right in sums:
            self.step += 1
            if not math.isfinite(loss):
                raise Diverged(self.epoch, self.step)
            self.loss += loss
            self.right += right

    def means(self) -> tuple[float, float]:
        """(loss an image, accuracy). Raises Diverged."""
        self.read()
        return self.loss / self.images, self.right / self.images
