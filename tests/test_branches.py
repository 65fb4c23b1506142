"""Residual branches: as many as each paper has blocks, and the right side of each addition."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from cnnbench.components.branches import find_branches
from cnnbench.components.trace import trace
from cnnbench.networks.build import build
from cnnbench.networks.spec import NetworkSpec


# Blocks of He et al. (2015, arXiv:1512.03385): 3 × 3 in ResNet-20, 2+2+2+2, 3+4+6+3; MobileNetV2 (2018, table 2): of 17
# blocks the 7 first of a stage have no shortcut; EfficientNet-B0 (2019, table 1): 16 less 7; ConvNeXt-T (2022):
# 3+3+9+3; RegNetY-400MF (2020): 1+3+6+6; ViT-B (2020) and Swin-T (2021): two branches in each of 12 blocks.
@pytest.mark.parametrize(
    ("name", "branches"),
    [
        *(("resnet18", 8), ("resnet50", 16), ("mobilenet_v2", 10), ("efficientnet_b0", 9), ("convnext_tiny", 18)),
        *(("regnet_y_400mf", 16), ("vit_b_32", 24), ("swin_t", 24)),
        *(("densenet121", 0), ("shufflenet_v2_x0_5", 0), ("vgg11", 0), ("squeezenet1_1", 0)),
    ],
)
def test_torchvisions_networks_have_the_branches_of_their_papers(name: str, branches: int):
    device = "cpu" if name.startswith("regnet") else "meta"  # its widths are computed with tensors
    with torch.device(device):
        network = torchvision.models.get_model(name, weights=None, **({"image_size": 64} if "vit" in name else {}))
    assert len(find_branches(trace(network, (3, 64, 64)))) == branches


@pytest.mark.parametrize(
    ("name", "branches"), [("resnet20", 9), ("wide_resnet40_4", 18), ("preact_resnet18", 8), ("cbam_resnet18", 8)]
)
def test_our_own_networks_have_the_branches_of_their_papers(name: str, branches: int):
    with torch.device("meta"):
        network, _ = build(NetworkSpec(name, classes=5, channels=3, image_size=32))
    assert len(find_branches(trace(network, (3, 32, 32)))) == branches


class Block(nn.Module):
    """``join`` gets the block, its input and the value of its one convolution."""

    def __init__(self, join):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, kernel_size=1)
        self.conv = nn.Conv2d(4, 4, kernel_size=3, padding=1)
        self.same = nn.Conv2d(4, 4, kernel_size=3, padding=1)
        self.projection = nn.Sequential(nn.Conv2d(4, 4, kernel_size=1, bias=False), nn.BatchNorm2d(4))
        self.position = nn.Parameter(torch.zeros(4, 8, 8))
        self.join = join

    def forward(self, x):
        x = self.stem(x)
        return self.join(self, x, self.conv(x))


def in_place(block, x, y):
    y += x
    return y


def branches_of(join):
    return find_branches(trace(Block(join), (3, 8, 8)))


@pytest.mark.parametrize(
    "join",
    [
        lambda block, x, y: x + y,
        lambda block, x, y: y + x,
        lambda block, x, y: torch.add(x, y),
        lambda block, x, y: y.add(x),
        lambda block, x, y: y.add_(x),
        in_place,
        lambda block, x, y: y + block.projection(x),
        lambda block, x, y: y[:, :, ::2, ::2] + F.pad(x[:, :2, ::2, ::2], (0, 0, 0, 0, 1, 1)),
        lambda block, x, y: F.max_pool2d(x, 2) + F.relu(F.avg_pool2d(y, 2)),
    ],
)
def test_the_side_that_is_not_the_blocks_input_is_the_branch(join):
    (branch,) = branches_of(join)
    assert branch.begin.target == "stem"
    before = {branch.end}
    while before and not any(node.target == "conv" for node in before):
        before = {input for node in before for input in node.all_input_nodes}
    assert before, "the branch is the side with the convolution"
    assert branch.shortcut is not branch.end


@pytest.mark.parametrize(
    "join",
    [
        lambda block, x, y: torch.cat([x, y], dim=1),
        lambda block, x, y: y + 3,
        lambda block, x, y: y + y,
        lambda block, x, y: y + block.position,
        lambda block, x, y: y + block.same(x),
        lambda block, x, y: y + F.relu(block.projection(x)),
        lambda block, x, y: y * x,
    ],
    ids=["concatenation", "number", "itself", "parameter", "sum of equals", "activated shortcut", "product"],
)
def test_other_sums_are_no_residual_branches(join):
    assert branches_of(join) == ()


@pytest.mark.parametrize("swapped", [False, True])
def test_a_branch_that_could_be_a_projection_is_the_branch_beside_the_input_itself(swapped: bool):
    (branch,) = branches_of(lambda block, x, y: block.projection(y) + y if swapped else y + block.projection(y))
    assert (branch.end.target, branch.shortcut.target) == ("projection.1", "conv")


def test_branches_come_in_the_order_of_computation():
    def two(block, x, y):
        x = x + y
        return x + block.same(x)

    assert [str(branch.end.target) for branch in branches_of(two)] == ["conv", "same"]
