"""AlexNet (Krizhevsky et al. 2012), in the one-tower form of Krizhevsky 2014 (arXiv:1404.5997), torchvision's."""

from torch import Tensor, nn
from torchvision.models import AlexNet

from cnnbench.architectures.catalogue import ARCHITECTURES, scaled
from cnnbench.architectures.stem import replace_conv


class SmallAlexNet(nn.Module):
    """AlexNet for small images: its five convolutions (64-192-384-256-256) and its 4096-4096 head, but with a 3×3
    stride-2 first convolution in place of 11×11 stride 4, 2×2 pooling in place of 3×3, and at most 2×2 maps into the
    head in place of 6×6."""

    def __init__(self, num_classes: int, in_channels: int, width: float, image_size: int) -> None:
        super().__init__()
        c1, c2, c3, c4, c5, hidden = (scaled(channels, width) for channels in (64, 192, 384, 256, 256, 4096))
        grid = min(2, (image_size + 1) // 2 // 8)
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, c1, kernel_size=3, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(c1, c2, kernel_size=5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(c2, c3, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(c3, c4, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(c4, c5, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            # at most 2×2, so that larger images don't grow the head
            *([nn.AdaptiveAvgPool2d(2)] if image_size > 32 else []),
        )
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(c5 * grid * grid, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.flatten(self.features(x)))
        return logits


@ARCHITECTURES.register(
    "alexnet", year=2012, family="AlexNet", paper="arXiv:1404.5997", smallest={"small": 15, "imagenet": 63}
)
def alexnet(
    num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0, image_size: int = 32
) -> nn.Module:
    if stem == "small":
        return SmallAlexNet(num_classes, in_channels, width, image_size)
    if width != 1:
        raise ValueError("alexnet: width applies to the small stem; with the imagenet stem it must be 1")
    network: nn.Module = AlexNet(num_classes)
    if in_channels != 3:
        replace_conv(network, "features.0", in_channels=in_channels)
    return network
