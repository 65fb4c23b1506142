"""Stratified splits: every class keeps its share, and a seed names one split on every machine."""

import hashlib

import numpy as np
import torch
from torch import Tensor

from cnnbench.data.sources import DataError


def stratified_split(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Splits off about ``fraction`` of each class, at least one image of it and never all.

    labels: int64 (N,). Returns (training indices, held-out indices), int64, each in rising order.
    Raises ValueError if fraction lies outside (0, 1), DataError if a class has one image alone.
    """
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"fraction: {fraction:g}; choose a number between 0 and 1")
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label, members in _shuffled_classes(labels, seed).items():
        if len(members) < 2:
            raise DataError(f"class {label} has one image; a split needs two of each class")
        held_out[members[: min(max(round(fraction * len(members)), 1), len(members) - 1)]] = True
    return torch.nonzero(~held_out).flatten(), torch.nonzero(held_out).flatten()


def stratified_limit(labels: Tensor, count: int, seed: int) -> Tensor:
    """Indices of ``count`` images, each class in its share (largest remainders), in rising order; all if there are
    no more than ``count``. Raises ValueError if count < 1."""
    if count < 1:
        raise ValueError(f"limit: {count}; choose a whole number from 1")
    if count >= len(labels):
        return torch.arange(len(labels))
    classes = _shuffled_classes(labels, seed)
    exact = {label: count * len(members) / len(labels) for label, members in classes.items()}
    quota = {label: int(share) for label, share in exact.items()}
    by_remainder = sorted(classes, key=lambda label: (quota[label] - exact[label], label))
    for label in by_remainder[: count - sum(quota.values())]:
        quota[label] += 1
    return torch.cat([members[: quota[label]] for label, members in classes.items()]).sort().values


def split_checksum(training: Tensor, held_out: Tensor) -> str:
    """SHA-256 over both index lists: equal if and only if the splits are equal."""
    digest = hashlib.sha256()
    for indices in (training, held_out):
        digest.update(f"{len(indices)};".encode())
        digest.update(indices.to(torch.int64).numpy().astype("<i8").tobytes())
    return digest.hexdigest()


def _shuffled_classes(labels: Tensor, seed: int) -> dict[int, Tensor]:
    """Class → its members in random order."""
    random = np.random.RandomState(seed)  # its stream is frozen for good; default_rng's is not
    values = labels.numpy()
    classes = {int(label): np.flatnonzero(values == label) for label in np.unique(values)}
    return {label: torch.from_numpy(random.permutation(members)) for label, members in classes.items()}
