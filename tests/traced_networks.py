"""Small networks for tests of the swap: shared modules, functional calls, gates."""

import copy

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

IMAGE = (3, 8, 8)
SMALL_STAGE = torchvision.models.convnext.CNBlockConfig(16, None, 2)


class Shared(nn.Module):
    """One ReLU module at two sites, as in torchvision's ResNet; the first overwrites the convolution's output."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, kernel_size=3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4, 8, kernel_size=3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = self.relu(self.norm1(self.conv1(x)))
        x = self.pool(self.relu(self.conv2(x)))
        return self.fc(torch.flatten(self.gap(x), 1))


class Functional(nn.Module):
    """All by calls: F.relu, torch.relu, x.relu(), F.max_pool2d, F.avg_pool2d, F.dropout, x.mean([2, 3])."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, kernel_size=3, padding=1)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x), inplace=True), 2)
        x = F.avg_pool2d(torch.relu(self.conv2(x)).relu(), kernel_size=2, stride=2)
        return self.fc(F.dropout(x.mean([2, 3]), 0.5, self.training))


class Gated(nn.Module):
    """A squeeze-excite of one's own, and a hard sigmoid written out, before an activation that is one."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, kernel_size=1)
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(4, 2, kernel_size=1),
            nn.ReLU(),
            nn.Conv2d(2, 4, kernel_size=1),
            nn.Sigmoid(),
        )
        self.act = nn.ReLU()
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        x = self.conv(x)
        x = x * self.squeeze(x)
        x = x * F.relu6(x + 3) / 6
        return self.fc(self.act(x).mean([2, 3]))


def images(size: int = 8) -> torch.Tensor:
    return torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0)) * 3


def modules_of(network: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kind)]


def output(network: nn.Module, training: bool, size: int = 8) -> torch.Tensor:
    torch.manual_seed(0)
    with torch.no_grad():
        return copy.deepcopy(network).train(training)(images(size))
