"""The loss of a batch in training, and how many of its images the network called right."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnbench.data.batches import Batch

AUXILIARY_WEIGHT = 0.3  # of each auxiliary classifier's loss: Szegedy et al. 2014, arXiv:1409.4842, section 5

Outputs = Tensor | tuple[Tensor, ...]  # logits (n, classes), in training perhaps followed by auxiliary logits


def main_logits(outputs: Outputs) -> Tensor:
    """The logits that a prediction is read from."""
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def batch_loss(outputs: Outputs, batch: Batch, label_smoothing: float) -> Tensor:
    """Mean cross-entropy in nats an image, plus 0.3 times that of each auxiliary classifier.

    Mixed images have kept × the loss to their own label + (1 - kept) × that to their partner's.
    """
    if isinstance(outputs, Tensor):
        return _cross_entropy(outputs, batch, label_smoothing)
    loss, *auxiliary = (_cross_entropy(logits, batch, label_smoothing) for logits in outputs)
    return loss + AUXILIARY_WEIGHT * torch.stack(auxiliary).sum() if auxiliary else loss


def _cross_entropy(logits: Tensor, batch: Batch, label_smoothing: float) -> Tensor:
    logits = logits.float()
    loss = F.cross_entropy(logits, batch.labels, label_smoothing=label_smoothing)
    if batch.other_labels is None:
        return loss
    other = F.cross_entropy(logits, batch.other_labels, label_smoothing=label_smoothing)
    return batch.kept * loss + (1.0 - batch.kept) * other


def count_right(outputs: Outputs, batch: Batch) -> Tensor:
    """How many images are called by their label, a scalar; a mixed one counts ``kept`` for that, the rest for its
    partner's."""
    called = main_logits(outputs).argmax(1)
    right = (called == batch.labels).sum()
    if batch.other_labels is None:
        return right
    return batch.kept * right + (1.0 - batch.kept) * (called == batch.other_labels).sum()
