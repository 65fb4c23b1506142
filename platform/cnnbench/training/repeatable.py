"""Whether a training comes out the same again."""

import os
from typing import Literal

import torch

Repeats = Literal["to the bit", "as far as PyTorch can"]


def make_repeatable(device: torch.device, workers: int = 1) -> Repeats:
    """Has this process train as repeatably as it can, and says how far that is: on one CPU, one seed repeats to the
    bit. On a GPU, PyTorch takes its deterministic kernels where it has them, and warns where it has none; several
    workers add their gradients up in an order of their own. To be called before anything is put on the device."""
    if device.type != "cpu":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it begins
        torch.backends.cudnn.benchmark = False  # it would choose kernels by their speed at that moment
        torch.use_deterministic_algorithms(True, warn_only=True)
    return "to the bit" if device.type == "cpu" and workers == 1 else "as far as PyTorch can"
