"""The probe for the fastest precision."""

import pytest
import torch
from torch import nn

from cnnbench.precision import COMBINATIONS, Precision
from cnnbench.training.probe import probe
from trainings import CPU, small_network


def test_the_probe_measures_four_combinations_and_leaves_the_random_state():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    result = probe(small_network, (1, 6, 6), 8, CPU, steps=2)
    assert torch.equal(before, torch.get_rng_state())
    assert set(result.images_per_s) == set(COMBINATIONS) and min(result.images_per_s.values()) > 0
    fastest = max(result.images_per_s.values())
    assert result.images_per_s[result.precision] * 1.05 >= fastest
    assert result.precision == next(c for c in COMBINATIONS if result.images_per_s[c] * 1.05 >= fastest)


class OnlyFp32(nn.Module):
    """Fails under autocast, as an operator without a bf16 kernel does."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("no kernel for bf16")
        return self.linear(inputs.flatten(1))


def test_the_probe_passes_over_a_combination_that_fails():
    result = probe(OnlyFp32, (1, 2, 2), 4, CPU, steps=1)
    assert set(result.images_per_s) == {Precision(), Precision("fp32", True)}
    assert set(result.failures.values()) == {"no kernel for bf16"} and len(result.failures) == 2
    assert result.precision.dtype == "fp32"
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        probe(OnlyFp32, (1, 3, 3), 4, CPU, steps=1)
