"""Classifiers in the middle of a network that are there for training alone (Szegedy et al. 2014, arXiv:1409.4842).

Both modules here do something else in training than in evaluation, and are marked ``opaque``, which a trace does not
open: so one graph serves both modes.
"""

from torch import Tensor, nn
from torchvision.models.googlenet import InceptionAux as GoogLeNetAux
from torchvision.models.inception import InceptionAux


class GoogLeNetHead(GoogLeNetAux):  # type: ignore[misc]
    """torchvision's, idle in evaluation: maps (N, C, H, W) → logits (N, classes) in training, else an empty tensor."""

    opaque = True

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = super().forward(x) if self.training else x.new_empty(0)
        return logits


class InceptionHead(InceptionAux):  # type: ignore[misc]
    """torchvision's, idle in evaluation. Its 5×5 convolution after a pooling of stride 3 needs maps of 17×17."""

    opaque = True

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = super().forward(x) if self.training else x.new_empty(0)
        return logits


class Outputs(nn.Module):
    """What a network with such classifiers returns: (logits, auxiliary logits, …) in training, else the logits."""

    opaque = True

    def forward(self, logits: Tensor, *auxiliary: Tensor) -> Tensor | tuple[Tensor, ...]:
        return (logits, *auxiliary) if self.training else logits
