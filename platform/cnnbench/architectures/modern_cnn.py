"""ModernCNN: what tutorials call a modern convolutional network, in no paper of its own: ResNet-18 (2015) with dropout
before the classifier."""

from torch import Tensor, nn

from cnnbench.architectures.basic_resnet import SMALLEST, BasicBlock, BasicResNet
from cnnbench.architectures.catalogue import ARCHITECTURES


class ModernCNN(BasicResNet):
    """Residual stages of [2, 2, 2, 2] blocks, global average pooling, dropout of 0.5, one linear layer."""

    def __init__(self, num_classes: int, in_channels: int, stem: str, width: float, depth: float) -> None:
        super().__init__(BasicBlock, num_classes, in_channels, stem, width, depth)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.dropout(self.features(x)))
        return logits


@ARCHITECTURES.register("modern_cnn", year=2015, family="ResNet", paper="arXiv:1512.03385", smallest=SMALLEST)
def modern_cnn(
    num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0, depth: float = 1.0
) -> nn.Module:
    return ModernCNN(num_classes, in_channels, stem, width, depth)
