"""The trivial baseline: always the class that most training images have."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnbench.evaluation.evaluate import Evaluation


def majority_class(training: Tensor, test: Tensor, classes: int) -> Evaluation:
    """Scores a classifier that never looks at an image; training, test: int64 labels (N,).

    It calls every image the largest class of ``training`` (the first of equals), with the training split's class
    frequencies as its probabilities, each count one higher so that no class is impossible.
    """
    counts = torch.bincount(training, minlength=classes)
    called = int(counts.argmax())
    log_probabilities = ((counts + 1).double() / (counts + 1).sum()).log()
    confusion = torch.zeros(classes, classes, dtype=torch.int64)
    confusion[:, called] = torch.bincount(test, minlength=classes)
    return Evaluation(
        loss=float(F.nll_loss(log_probabilities.expand(len(test), -1), test)),
        accuracy=float((test == called).double().mean()),
        confusion=confusion,
    )
