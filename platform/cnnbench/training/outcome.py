"""What a training tells: metrics of each epoch, its result, or that it diverged."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EpochMetrics:
    """One epoch. Losses in nats an image, accuracies in [0, 1]; the training figures are means over the epoch's own
    batches, as augmented and mixed (a mixed image is right in part), with label smoothing and auxiliary classifiers in
    the loss; the validation figures have none of these, and are those of the averaged weights if there are any.

    epoch: from 1; learning_rate: of the epoch's last step; images: shown to the network so far, over all workers;
    seconds: of the epoch, validation included.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    images: int
    seconds: float


@dataclass(frozen=True)
class Trained:
    """A finished training.

    history: one entry an epoch; best_epoch: the first of the highest validation accuracy, or the last epoch if there
    was no validation; images: shown to the network over all workers, repeats counted; seconds: of wall-clock time,
    those before an interruption included, but not what it lost; resumed_from: the epoch that a checkpoint gave, or 0.
    """

    history: tuple[EpochMetrics, ...]
    best_epoch: int
    images: int
    seconds: float
    stopped_early: bool
    resumed_from: int


class Diverged(Exception):
    """A loss or a weight that is NaN or infinite. step: the batch it was seen in, counted from 1 over all epochs."""

    def __init__(self, epoch: int, step: int) -> None:
        super().__init__(f"diverged at step {step} (epoch {epoch})")
        self.epoch, self.step = epoch, step

    def __reduce__(self) -> tuple[type["Diverged"], tuple[int, int]]:
        return Diverged, (self.epoch, self.step)  # it crosses process borders


def best_epoch(history: tuple[EpochMetrics, ...] | list[EpochMetrics]) -> int:
    """The first epoch of the highest validation accuracy; the last epoch if none was validated."""
    validated = [metrics for metrics in history if metrics.val_accuracy is not None]
    if not validated:
        return history[-1].epoch
    return max(validated, key=lambda metrics: metrics.val_accuracy or 0.0).epoch
