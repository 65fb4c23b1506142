"""Channels-last networks stay so, forwards and backwards: a map in another layout slows down all that it meets."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from cnnbench.networks.build import build, sites
from cnnbench.networks.spec import NetworkSpec
from cnnbench.precision import Precision

CPU = torch.device("cpu")


class Layouts(TorchDispatchMode):
    """Counts the gradients of ReLUs whose channels do not lie side by side in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.scattered, self.seen = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.threshold_backward.default and args[1].dim() == 4:
            self.seen += 1
            self.scattered += args[0].stride(1) != 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("architecture", "relus"), [("resnet20", 19), ("shufflenet_v2_x0_5", 37), ("vgg11_bn", 8)])
def test_gradients_have_the_layout_of_their_maps_but_behind_the_global_pooling(architecture, relus):
    network = build(NetworkSpec(architecture, classes=5, channels=3, image_size=32))[0]
    precision = Precision("fp32", channels_last=True)
    precision.place(network, CPU).train()
    images = torch.randn(2, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    with Layouts() as layouts:
        network(images).sum().backward()
    assert layouts.seen == relus
    assert layouts.scattered <= 1, "that of the global pooling, a number for each whole map"


@pytest.mark.parametrize("size", [8, 7])
def test_the_shortcut_without_parameters_takes_every_second_pixel(size):
    network = build(NetworkSpec("resnet20", classes=5, channels=3, image_size=32))[0]
    block = network.stage2[0]
    maps = torch.randn(2, 16, size, size)
    assert torch.equal(block.shortcut(maps), F.pad(maps[:, :, ::2, ::2], (0, 0, 0, 0, 8, 8)))


def test_a_window_of_one_pixel_is_no_place_to_pool():
    assert sites(NetworkSpec("resnet20", classes=10, channels=3, image_size=32))["window_pooling"] == 0
