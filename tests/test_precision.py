"""What runs in which number format."""

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from cnnbench.precision import Precision

CPU = torch.device("cpu")


def dtypes_under(precision: Precision) -> tuple[list[torch.dtype], list[torch.dtype]]:
    """The dtypes that the convolutions of a network get and give."""
    layers = (
        nn.Conv2d(3, 4, 1),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Conv2d(4, 4, 3, stride=2, groups=4),
        nn.Conv2d(4, 4, 3, dilation=2, groups=4),
        nn.Conv2d(4, 4, 5, padding=2, groups=4),
        nn.Conv2d(4, 4, 1, groups=2),
    )
    computed, given = [], []
    convolution = torch.ops.aten.convolution.default

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is convolution:
                computed.append(args[0].dtype)
            return func(*args, **(kwargs or {}))

    for layer in layers:
        layer.register_forward_hook(lambda _, inputs, output: given.append(output.dtype))
    network = nn.Sequential(*layers)
    with Watch(), precision.autocast(CPU):
        network(torch.randn(2, 3, 16, 16)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    return computed, given


def test_in_bf16_on_a_cpu_depthwise_convolutions_that_it_slows_down_are_computed_in_fp32():
    half, full = torch.bfloat16, torch.float32
    assert dtypes_under(Precision("bf16")) == ([half, half, full, full, full, half], [half] * 6)
    assert dtypes_under(Precision("fp32")) == ([full] * 6, [full] * 6)


def test_autocast_ends_with_its_context():
    with Precision("bf16").autocast(CPU):
        pass
    assert nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 1, 1)).dtype == torch.float32
