"""AlexNet (Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks", NeurIPS 25)."""

from torch import Tensor, nn

from cnnbench.architectures.catalogue import ARCHITECTURES, scaled


def _response_norm() -> nn.LocalResponseNorm:
    """The paper's section 3.3: b = a / (2 + 10⁻⁴ Σ a²)^0.75 over 5 neighbouring channels; PyTorch's alpha is divided
    by that 5 first."""
    return nn.LocalResponseNorm(size=5, alpha=5e-4, beta=0.75, k=2.0)


class AlexNet2012(nn.Module):
    """As published, in two towers (one a GPU then, ``groups=2`` now, so that conv2, conv4 and conv5 see their own
    tower alone): 96-256-384-384-256 channels, local response normalisation, overlapping 3×3 pooling of stride 2, and a
    4096-4096 head. 60,965,224 parameters at 1000 classes. Initialised as PyTorch does, not with the paper's N(0, 0.01).

    The imagenet stem is the paper's 11×11 convolution of stride 4; its padding of 2 makes 224×224 pixels fit, which
    the paper leaves open. The small stem is a 3×3 convolution of stride 2, with 2×2 pooling throughout and at most
    2×2 maps into the head in place of 6×6.
    """

    def __init__(self, num_classes: int, in_channels: int, stem: str, width: float, image_size: int) -> None:
        super().__init__()
        # both towers together, so an even number
        c1, c2, c3, c4, c5 = (2 * scaled(channels, width) for channels in (48, 128, 192, 192, 128))
        hidden = scaled(4096, width)
        small = stem == "small"
        window = 2 if small else 3
        grid = min(2, (image_size + 1) // 2 // 8) if small else 6
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, c1, kernel_size=3, stride=2, padding=1)
            if small
            else nn.Conv2d(in_channels, c1, kernel_size=11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            _response_norm(),
            nn.MaxPool2d(window, stride=2),
            nn.Conv2d(c1, c2, kernel_size=5, padding=2, groups=2),
            nn.ReLU(inplace=True),
            _response_norm(),
            nn.MaxPool2d(window, stride=2),
            nn.Conv2d(c2, c3, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(c3, c4, kernel_size=3, padding=1, groups=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(c4, c5, kernel_size=3, padding=1, groups=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(window, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(grid)  # so that the image's size does not change the head
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Linear(c5 * grid * grid, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.flatten(self.avgpool(self.features(x))))
        return logits


@ARCHITECTURES.register(
    "alexnet_2012",
    year=2012,
    family="AlexNet",
    paper="doi:10.1145/3065386",
    smallest={"small": 15, "imagenet": 63},
)
def alexnet_2012(
    num_classes: int, in_channels: int = 3, *, stem: str = "small", width: float = 1.0, image_size: int = 32
) -> nn.Module:
    return AlexNet2012(num_classes, in_channels, stem, width, image_size)
