"""The training split's own mean and standard deviation, and their use."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cnnbench.data.images import Images

GREY_LEVEL = 1.0 / 255.0


@dataclass(frozen=True)
class Normalization:
    """Per-channel mean and standard deviation of pixel values in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, images: Images) -> "Normalization":
        """Of these images' pixels, exactly, from a histogram. A channel that never varies counts as one grey level
        wide. Raises ValueError if there are no images."""
        if not len(images):
            raise ValueError("no images to take the mean and deviation of")
        levels = torch.arange(256, dtype=torch.float64) * GREY_LEVEL
        means, stds = [], []
        for channel in range(images.pixels.shape[1]):
            counts = torch.zeros(256, dtype=torch.int64)
            for start in range(0, len(images), 4096):  # bincount widens its input to int64
                counts += torch.bincount(images.pixels[start : start + 4096, channel].flatten(), minlength=256)
            share = counts.double() / counts.sum()
            mean = (share * levels).sum()
            means.append(float(mean))
            stds.append(max(float((share * (levels - mean) ** 2).sum().sqrt()), GREY_LEVEL))
        return cls(tuple(means), tuple(stds))

    def apply(self, pixels: Tensor) -> Tensor:
        """uint8 (N, C, H, W) → float32 of the same shape, (pixels / 255 - mean) / std."""
        scale, shift = self.scale_and_shift(pixels.device)
        return pixels.float().mul_(scale).add_(shift)

    def scale_and_shift(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """float32 (1, C, 1, 1) each: pixels × scale + shift is the normalised image."""
        shape = (1, len(self.mean), 1, 1)
        scale = torch.tensor([GREY_LEVEL / std for std in self.std]).view(shape)
        shift = torch.tensor([-mean / std for mean, std in zip(self.mean, self.std, strict=True)]).view(shape)
        return scale.to(device), shift.to(device)

    def fill(self) -> Tensor:
        """uint8 (C, 1, 1): the mean pixel, which normalisation takes to about 0."""
        return torch.tensor([round(255 * mean) for mean in self.mean], dtype=torch.uint8).view(-1, 1, 1)
