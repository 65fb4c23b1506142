"""Per-class scores from a confusion matrix."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ClassScore:
    """One class's scores in [0, 1]; a score whose denominator is zero is 0. support: images of the class."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


def class_scores(confusion: Tensor, classes: Sequence[str]) -> tuple[ClassScore, ...]:
    """confusion: int64 (classes, classes), [i, j] counting the images of class i called class j."""
    if confusion.shape != (len(classes), len(classes)):
        raise ValueError(f"confusion: {tuple(confusion.shape)} does not fit {len(classes)} classes")
    right = confusion.diagonal().tolist()
    actual, called = confusion.sum(1).tolist(), confusion.sum(0).tolist()
    return tuple(
        ClassScore(
            name,
            precision=_share(right[i], called[i]),
            recall=_share(right[i], actual[i]),
            f1=_share(2 * right[i], called[i] + actual[i]),
            support=actual[i],
        )
        for i, name in enumerate(classes)
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
