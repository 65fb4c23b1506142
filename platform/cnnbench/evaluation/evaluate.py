"""Loss, accuracy and confusion of a network on a set of images."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnbench.data.batches import Batches
from cnnbench.data.image_normalization import Normalization
from cnnbench.data.images import Images
from cnnbench.precision import FP32, Precision
from cnnbench.ranks import ALONE, Ranks

BATCH_SIZE = 256  # images of one rank


@dataclass(frozen=True)
class Evaluation:
    """loss: mean cross-entropy in nats an image; accuracy: top-1, in [0, 1]; confusion: int64 (classes, classes), on
    the CPU, element [i, j] counting the images of class i that were called class j."""

    loss: float
    accuracy: float
    confusion: Tensor


def evaluate(
    network: nn.Module,
    images: Images,
    *,
    normalization: Normalization,
    device: torch.device,
    precision: Precision = FP32,
    ranks: Ranks = ALONE,
) -> Evaluation:
    """All images once, in evaluation mode (the network's mode is put back after). With more than one rank, each takes
    its share, all must call, and all get the totals. A network that has diverged yields a loss that is not finite.
    """
    batches = evaluation_batches(images, normalization, device=device, precision=precision, ranks=ranks)
    return evaluate_batches(network, batches, len(images.classes), precision, ranks)


def evaluation_batches(
    images: Images, normalization: Normalization, *, device: torch.device, precision: Precision, ranks: Ranks = ALONE
) -> Batches:
    """This rank's share of ``images`` in batches that are large enough for speed and small enough for memory."""
    return Batches(
        images,
        BATCH_SIZE * ranks.size,
        normalization,
        device=device,
        channels_last=precision.channels_last,
        rank=ranks.rank,
        ranks=ranks.size,
    )


def evaluate_batches(
    network: nn.Module, batches: Batches, classes: int, precision: Precision, ranks: Ranks = ALONE
) -> Evaluation:
    """As ``evaluate``, on batches that were made before: a training validates on the same ones every epoch."""
    was_training = network.training
    network.eval()
    loss = torch.zeros((), dtype=torch.float64, device=batches.device)
    cells = []  # class × classes + prediction, an image each
    with torch.inference_mode():
        for batch in batches.in_order():
            with precision.autocast(batches.device):
                logits = network(batch.inputs)
            loss += F.cross_entropy(logits.float(), batch.labels, reduction="sum")
            cells.append(batch.labels * classes + logits.argmax(1))
        counts = torch.bincount(torch.cat(cells), minlength=classes**2) if cells else torch.zeros(classes**2).long()
        counts = ranks.sum(counts.to(batches.device)).cpu().view(classes, classes)
        total = int(counts.sum())
        mean_loss = float(ranks.sum(loss)) / total
    network.train(was_training)
    return Evaluation(mean_loss, int(counts.diagonal().sum()) / total, counts.clone())
