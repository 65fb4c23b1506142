"""SimpleCNN: the plain convolutional network of tutorials, in no paper: VGG's pairs of 3×3 convolutions (2014), batch
normalisation and dropout (2015). The year is that of its youngest part."""

from torch import Tensor, nn

from cnnbench.architectures.catalogue import ARCHITECTURES, scaled


def _block(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Dropout2d(0.25),
    )


class SimpleCNN(nn.Module):
    """Three blocks of two convolutions (32, 64, 128 channels), each halving the image, then 512 units."""

    def __init__(self, num_classes: int, in_channels: int, width: float, image_size: int) -> None:
        super().__init__()
        first, second, third, hidden = (scaled(channels, width) for channels in (32, 64, 128, 512))
        side = image_size // 8
        self.features = nn.Sequential(_block(in_channels, first), _block(first, second), _block(second, third))
        self.flatten = nn.Flatten()
        self.hidden = nn.Linear(third * side * side, hidden)
        self.act = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.flatten(self.features(x))
        logits: Tensor = self.classifier(self.dropout(self.act(self.hidden(x))))
        return logits


@ARCHITECTURES.register("simple_cnn", year=2015, family="SimpleCNN", paper="", smallest={"small": 8})
def simple_cnn(num_classes: int, in_channels: int = 3, *, width: float = 1.0, image_size: int = 32) -> nn.Module:
    return SimpleCNN(num_classes, in_channels, width, image_size)
