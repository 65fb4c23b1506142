"""Optimizers: what weight decay spares, what is refused, how gradients are clipped."""

import pytest
import torch
from torch import nn

from cnnbench.training.optimizers import build_optimizer, clip_gradients
from cnnbench.training.recipe import KNOBS, Recipe


@pytest.mark.parametrize("name", KNOBS["optimizer"].choices)
def test_weight_decay_spares_norms_and_biases(name):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.PReLU(), nn.Flatten(), nn.Linear(2, 2))
    optimizer = build_optimizer(network, Recipe(optimizer=name, lr=0.1, weight_decay=0.5))
    before = [parameter.clone() for parameter in network.parameters()]
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for parameter, old in zip(network.parameters(), before, strict=True):
        assert torch.equal(parameter, old) == (parameter.ndim == 1)


class Scaled(nn.Module):
    """A layer scale as ConvNeXt's, a slope, and matrices that look like vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3, 1, 1))
        self.slope = nn.Parameter(torch.ones(()))
        self.table = nn.Parameter(torch.ones(2, 3))
        self.expand = nn.Conv2d(1, 4, 1, bias=False)
        self.squeeze = nn.Linear(4, 1, bias=False)


def test_weight_decay_spares_scales_and_slopes_of_any_shape_and_no_layers_weight():
    network = Scaled()
    optimizer = build_optimizer(network, Recipe(weight_decay=0.5))
    names = {parameter: name for name, parameter in network.named_parameters()}
    decayed, spared = ({names[each] for each in group["params"]} for group in optimizer.param_groups)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0]
    assert decayed == {"table", "expand.weight", "squeeze.weight"} and spared == {"scale", "slope"}


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(ValueError, match="nesterov: needs a momentum above 0"):
        build_optimizer(nn.Linear(1, 1), Recipe(nesterov=True, momentum=0.0))


def test_gradients_are_clipped_by_value_then_by_norm():
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, -40.0])
    clip_gradients([parameter], Recipe(clip_value=4.0))
    assert parameter.grad.tolist() == [3.0, -4.0]
    clip_gradients([parameter], Recipe(clip_norm=1.0))
    assert parameter.grad.tolist() == pytest.approx([0.6, -0.8], abs=1e-5)
