"""Inception v3 (Szegedy et al. 2015, arXiv:1512.00567), torchvision's."""

import torch
from torch import Tensor, nn
from torchvision.models import inception

from cnnbench.architectures.auxiliary import InceptionHead, Outputs
from cnnbench.architectures.catalogue import ARCHITECTURES
from cnnbench.architectures.stem import replace_conv

# The auxiliary classifier needs maps of 17×17, which these images give; smaller ones go without it.
_SMALLEST_WITH_HEAD = {"small": 71, "imagenet": 299}


class InceptionV3(inception.Inception3):  # type: ignore[misc]
    """Its forward pass without branches on ``self.training``. In training it returns (logits, auxiliary logits), or the
    logits alone where it has no auxiliary classifier."""

    def __init__(self, num_classes: int, auxiliary: bool) -> None:
        parts = ("BasicConv2d", "InceptionA", "InceptionB", "InceptionC", "InceptionD", "InceptionE")
        blocks = [*(getattr(inception, part) for part in parts), InceptionHead]
        super().__init__(num_classes, aux_logits=auxiliary, init_weights=True, inception_blocks=blocks)
        self.outputs = Outputs()

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.maxpool1(x)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = self.maxpool2(x)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        auxiliary = None if self.AuxLogits is None else self.AuxLogits(x)
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        logits: Tensor = self.fc(torch.flatten(self.dropout(self.avgpool(x)), 1))
        if auxiliary is None:
            return logits
        outputs: Tensor | tuple[Tensor, ...] = self.outputs(logits, auxiliary)
        return outputs


@ARCHITECTURES.register(
    "inception_v3", year=2015, family="Inception", paper="arXiv:1512.00567", smallest={"small": 15, "imagenet": 75}
)
def inception_v3(num_classes: int, in_channels: int = 3, *, stem: str = "small", image_size: int = 32) -> nn.Module:
    """The small stem's convolutions have stride 1 and keep the size, and there is no first max-pooling: 32 pixels give
    maps of 15, 7 and 3, where 299 pixels give 35, 17 and 8. Below 299 pixels, or 71 with the small stem, there is no
    auxiliary classifier."""
    network = InceptionV3(num_classes, auxiliary=image_size >= _SMALLEST_WITH_HEAD[stem])
    if stem == "small":
        network.maxpool1 = nn.Identity()
        for name in ("Conv2d_2a_3x3", "Conv2d_4a_3x3"):
            network.get_submodule(name).conv.padding = (1, 1)
    if stem == "small" or in_channels != 3:
        changes = {"stride": 1, "padding": 1} if stem == "small" else {}
        first = replace_conv(network, "Conv2d_1a_3x3.conv", in_channels=in_channels, **changes)
        nn.init.trunc_normal_(first.weight, std=0.1)
    return network
