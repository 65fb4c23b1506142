"""GoogLeNet (Szegedy et al. 2014, arXiv:1409.4842), torchvision's, which has batch normalisation."""

import torch
from torch import Tensor, nn
from torchvision.models.googlenet import BasicConv2d, Inception
from torchvision.models.googlenet import GoogLeNet as TorchvisionGoogLeNet

from cnnbench.architectures.auxiliary import GoogLeNetHead, Outputs
from cnnbench.architectures.catalogue import ARCHITECTURES
from cnnbench.architectures.stem import replace_conv


class GoogLeNet(TorchvisionGoogLeNet):  # type: ignore[misc]
    """Its forward pass without branches on ``self.training``. In training it returns (logits, auxiliary logits of the
    block 4d, and of 4a), as torchvision's does."""

    def __init__(self, num_classes: int) -> None:
        blocks = [BasicConv2d, Inception, GoogLeNetHead]
        super().__init__(num_classes, aux_logits=True, init_weights=True, blocks=blocks)
        self.outputs = Outputs()

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x = self.inception4a(x)
        auxiliary1 = self.aux1(x)
        x = self.inception4d(self.inception4c(self.inception4b(x)))
        auxiliary2 = self.aux2(x)
        x = self.maxpool4(self.inception4e(x))
        x = self.inception5b(self.inception5a(x))
        logits = self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))
        outputs: Tensor | tuple[Tensor, ...] = self.outputs(logits, auxiliary2, auxiliary1)
        return outputs


@ARCHITECTURES.register(
    "googlenet", year=2014, family="Inception", paper="arXiv:1409.4842", smallest={"small": 8, "imagenet": 32}
)
def googlenet(num_classes: int, in_channels: int = 3, *, stem: str = "small") -> nn.Module:
    """The small stem is a 3×3 convolution of stride 1 and no first max-pooling: 1/8 of the side remains, not 1/32."""
    network = GoogLeNet(num_classes)
    changes = {"in_channels": in_channels}
    if stem == "small":
        changes |= {"kernel_size": 3, "stride": 1, "padding": 1}
        network.maxpool1 = nn.Identity()
    if stem == "small" or in_channels != 3:
        first = replace_conv(network, "conv1.conv", **changes)
        nn.init.trunc_normal_(first.weight, std=0.01)
    return network
