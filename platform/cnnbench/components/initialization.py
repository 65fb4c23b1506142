"""Initialisation of convolutions and linear layers. Norms, embeddings and scales stay as the architecture has them."""

import math

from torch import nn

from cnnbench.components.kinds import INITIALIZATIONS


@INITIALIZATIONS.register("default")
def default(layer: nn.Conv2d | nn.Linear, makes_logits: bool) -> None:
    """PyTorch's own: weights and biases uniform in ±1/√fan_in."""
    layer.reset_parameters()


@INITIALIZATIONS.register("kaiming_normal")
def kaiming_normal(layer: nn.Conv2d | nn.Linear, makes_logits: bool) -> None:
    """Normal with variance 2/fan_out, and no biases (He et al. 2015, arXiv:1502.01852, section 2.2).

    fan_out is the number of outputs that an input goes to: a grouped convolution's of its own group, which
    torch.nn.init.kaiming_normal_ takes for those of all groups. No rectifier follows the logits: their layer has
    variance 1/fan_in, so that they begin of the features' size.
    """
    if makes_logits:
        variance = 1 / layer.weight[0].numel()
    else:
        groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
        variance = 2 * groups / layer.weight[:, 0].numel()
    nn.init.normal_(layer.weight, std=math.sqrt(variance))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
