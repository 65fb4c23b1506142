"""LeNet-5 (LeCun et al. 1998, "Gradient-based learning applied to document recognition", Proc. IEEE 86(11))."""

from torch import Tensor, nn

from cnnbench.architectures.catalogue import ARCHITECTURES


class LeNet5(nn.Module):
    """As published: tanh and average pooling. Simplified, as usual: C3 sees all maps of S2, the pooling has no
    trained coefficients, tanh no scale, and the output layer is linear. 61,706 parameters on 32×32 grey images of 10
    classes, 62,006 on colour ones.

    The paper's 32×32 input leaves 5×5 maps to C5. Images smaller than 32 are padded by 2 in C1, so that 28×28 has the
    same maps; at other sizes C5 takes whatever maps S4 leaves (2×2 from 16×16).
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int) -> None:
        super().__init__()
        padding = 2 if image_size < 32 else 0
        side = ((image_size + 2 * padding - 4) // 2 - 4) // 2
        self.c1 = nn.Conv2d(in_channels, 6, kernel_size=5, padding=padding)
        self.act1 = nn.Tanh()
        self.s2 = nn.AvgPool2d(2)
        self.c3 = nn.Conv2d(6, 16, kernel_size=5)
        self.act3 = nn.Tanh()
        self.s4 = nn.AvgPool2d(2)
        self.flatten = nn.Flatten()
        self.c5 = nn.Linear(16 * side * side, 120)
        self.act5 = nn.Tanh()
        self.f6 = nn.Linear(120, 84)
        self.act6 = nn.Tanh()
        self.output = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.s2(self.act1(self.c1(x)))
        x = self.s4(self.act3(self.c3(x)))
        x = self.act5(self.c5(self.flatten(x)))
        x = self.act6(self.f6(x))
        logits: Tensor = self.output(x)
        return logits


@ARCHITECTURES.register(
    "lenet5", year=1998, family="LeNet", paper="doi:10.1109/5.726791", smallest={"small": 12}, params={"small": 62_006}
)
def lenet5(num_classes: int, in_channels: int = 3, *, image_size: int = 32) -> nn.Module:
    return LeNet5(num_classes, in_channels, image_size)
