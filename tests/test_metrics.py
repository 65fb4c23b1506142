"""Evaluation and per-class scores; scikit-learn is the oracle."""

import math

import pytest
import torch
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch import nn

from cnnbench.data.image_normalization import Normalization
from cnnbench.data.images import Images
from cnnbench.evaluation.evaluate import evaluate
from cnnbench.evaluation.majority import majority_class
from cnnbench.evaluation.metrics import ClassScore, class_scores


class PixelIsClass(nn.Module):
    """Calls a one-pixel image the class of its value, with logits of 1 and 0."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return nn.functional.one_hot(inputs.flatten().round().long(), 3).float()


def test_scores_per_class_are_scikit_learns():
    random = torch.Generator().manual_seed(0)
    actual = torch.randint(0, 4, (200,), generator=random)
    called = torch.where(torch.rand(200, generator=random) < 0.6, actual, torch.randint(0, 4, (200,), generator=random))
    confusion = torch.from_numpy(confusion_matrix(actual, called))
    scores = class_scores(confusion, "abcd")
    oracle = precision_recall_fscore_support(actual, called)
    for field, expected in zip(("precision", "recall", "f1", "support"), oracle, strict=True):
        assert [getattr(score, field) for score in scores] == pytest.approx(expected.tolist())


def test_a_class_that_nobody_called_or_that_has_no_images_scores_zero():
    scores = class_scores(torch.tensor([[2, 0, 0], [1, 0, 0], [0, 0, 0]]), ("a", "b", "c"))
    assert scores[0] == ClassScore("a", precision=2 / 3, recall=1.0, f1=0.8, support=2)
    assert scores[1] == ClassScore("b", 0.0, 0.0, 0.0, support=1)
    assert scores[2] == ClassScore("c", 0.0, 0.0, 0.0, support=0)
    with pytest.raises(ValueError, match=r"confusion: \(2, 2\) does not fit 3 classes"):
        class_scores(torch.zeros(2, 2), ("a", "b", "c"))


def test_evaluate_counts_every_image_and_puts_the_mode_back():
    called = torch.tensor([0, 0, 1, 2, 2, 2] * 100, dtype=torch.uint8)  # more than one batch
    actual = torch.tensor([0, 1, 1, 2, 2, 0] * 100)
    network = PixelIsClass().train()
    result = evaluate(
        network,
        Images(called.view(-1, 1, 1, 1), actual, ("a", "b", "c")),
        normalization=Normalization((0.0,), (1 / 255,)),
        device=torch.device("cpu"),
    )
    assert network.training
    assert result.confusion.tolist() == [[100, 0, 100], [100, 100, 0], [0, 0, 200]]
    assert result.accuracy == pytest.approx(4 / 6)
    right = torch.tensor([1.0, 0.0, 0.0]).log_softmax(0)
    assert result.loss == pytest.approx(-(4 * float(right[0]) + 2 * float(right[1])) / 6, rel=1e-6)


def test_dropout_and_batch_statistics_are_off_in_evaluation():
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 2))
    pixels = torch.randint(0, 256, (8, 1, 2, 2)).to(torch.uint8)
    images = Images(pixels, torch.zeros(8, dtype=torch.int64), ("a", "b"))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    results = [
        evaluate(network, images, normalization=Normalization.of(images), device=torch.device("cpu")) for _ in range(2)
    ]
    assert results[0].loss == results[1].loss
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_the_majority_baseline_calls_every_image_the_largest_training_class():
    training, test = torch.tensor([2, 2, 2, 0, 1]), torch.tensor([0, 2, 2, 1])
    scored = majority_class(training, test, classes=4)
    assert scored.accuracy == 0.5
    assert scored.confusion.tolist() == [[0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 2, 0], [0, 0, 0, 0]]
    # counts 1, 1, 3, 0, each one higher, of nine
    assert scored.loss == pytest.approx(-(2 * math.log(2 / 9) + 2 * math.log(4 / 9)) / 4)
