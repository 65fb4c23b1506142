"""The optimizer of a recipe, and one step of it."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import Optimizer

from cnnbench.training.recipe import Recipe


def build_optimizer(network: nn.Module, recipe: Recipe) -> Optimizer:
    """SGD, Adam, AdamW or RMSprop over the parameters that require gradients.

    Weight decay spares vectors and scalars: norms, biases, PReLU's and swish's slopes, ConvNeXt's layer scale. Under
    "adamw" it is decoupled from the gradient (Loshchilov & Hutter 2019, arXiv:1711.05101), under the others it is L2
    regularisation. Raises ValueError if ``nesterov`` stands without momentum.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    spared = _vectors(network)
    groups = [
        {"params": [each for each in parameters if each not in spared], "weight_decay": recipe.weight_decay},
        {"params": [each for each in parameters if each in spared], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    match recipe.optimizer:
        case "sgd":
            if recipe.nesterov and not recipe.momentum:
                raise ValueError("nesterov: needs a momentum above 0")
            return torch.optim.SGD(groups, recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True)
        case "adam":
            return torch.optim.Adam(groups, recipe.lr, fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, recipe.lr, fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(groups, recipe.lr, momentum=recipe.momentum)
        case _:
            raise ValueError(f"optimizer: unknown value {recipe.optimizer!r}; choose from sgd, adam, adamw, rmsprop")


def _vectors(network: nn.Module) -> set[nn.Parameter]:
    """Parameters with at most one dimension longer than 1: layer scale is (C, 1, 1). The weights of convolutions and
    linear layers never are, though one output can make them look so; their biases always are."""
    vectors = set()
    for module in network.modules():
        multiplies = isinstance(module, nn.Linear | nn.modules.conv._ConvNd)
        for parameter in module.parameters(recurse=False):
            if parameter.ndim <= 1 or (not multiplies and parameter.squeeze().ndim <= 1):
                vectors.add(parameter)
    return vectors


def clip_gradients(parameters: Sequence[nn.Parameter], recipe: Recipe) -> None:
    """First each element to ±clip_value, then all together to a norm of clip_norm; None leaves them."""
    if recipe.clip_value is not None:
        nn.utils.clip_grad_value_(parameters, recipe.clip_value)
    if recipe.clip_norm is not None:
        nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)
