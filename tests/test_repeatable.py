"""How far a training repeats, and that a record says it."""

import os

import pytest
import torch

from cnnbench.ledger import Machine
from cnnbench.training.repeatable import make_repeatable


@pytest.fixture
def flags():
    """torch's flags, given back after the test."""
    before = torch.backends.cudnn.benchmark, torch.are_deterministic_algorithms_enabled()
    yield
    torch.backends.cudnn.benchmark = before[0]
    torch.use_deterministic_algorithms(before[1])


def test_a_gpu_takes_deterministic_kernels_where_there_are_any(flags, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")  # a user's own stays
    torch.backends.cudnn.benchmark = True
    assert make_repeatable(torch.device("cuda")) == "as far as PyTorch can"
    assert torch.are_deterministic_algorithms_enabled() and torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.backends.cudnn.benchmark and os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_one_worker_on_a_cpu_repeats_to_the_bit_and_several_need_not():
    assert make_repeatable(torch.device("cpu")) == "to the bit"
    assert make_repeatable(torch.device("cpu"), workers=2) == "as far as PyTorch can"


def test_a_record_says_how_far_and_an_old_one_need_not():
    assert Machine.model_fields["repeats"].default is None
    with pytest.raises(ValueError, match="repeats"):
        Machine.model_validate({"repeats": "always"})
