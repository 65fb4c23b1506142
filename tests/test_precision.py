"""What runs in which number format."""

import torch
from torch import nn

from cnnbench.precision import Precision

CPU = torch.device("cpu")


def dtypes_under(precision: Precision) -> dict[str, torch.dtype]:
    """Layer → the dtype of its output."""
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 1, groups=2))
    seen: dict[str, torch.dtype] = {}
    for name, layer in network.named_children():
        layer.register_forward_hook(lambda _, inputs, output, name=name: seen.__setitem__(name, output.dtype))
    with precision.autocast(CPU):
        network(torch.randn(2, 3, 5, 5)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    return seen


def test_in_bf16_on_a_cpu_depthwise_convolutions_alone_stay_in_fp32():
    half, full = torch.bfloat16, torch.float32
    assert dtypes_under(Precision("bf16")) == {"0": half, "1": full, "2": half}
    assert set(dtypes_under(Precision("fp32")).values()) == {full}


def test_autocast_ends_with_its_context():
    with Precision("bf16").autocast(CPU):
        pass
    assert nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 1, 1)).dtype == torch.float32
