"""What a network is, in plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class NetworkSpec:
    """Maps images (N, channels, image_size, image_size) to logits (N, classes).

    architecture: a name of ``cnnbench models``, ``timm:NAME`` or ``package.module:callable``. stem: "small",
    "imagenet", or "auto": small below 96 pixels where the architecture has both, its "own" where it has no other.
    width multiplies the channel counts, depth the blocks of each stage (rounded up). components: kind → value, None for
    the architecture's own; without any the network is the architecture as written.
    """

    architecture: str
    classes: int
    channels: int
    image_size: int
    stem: str = "auto"
    width: float = 1.0
    depth: float = 1.0
    components: Mapping[str, str | float | None] = field(default_factory=dict)

    @property
    def image(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        return (self.channels, self.image_size, self.image_size)
