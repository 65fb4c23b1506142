"""Colour jitter of whole uint8 batches: every image has its own brightness, contrast and saturation."""

import torch
from torch import Tensor

RGB_TO_GREY = (0.299, 0.587, 0.114)  # luma of ITU-R BT.601


def draw_color_factors(strength: float, count: int, generator: torch.Generator) -> Tensor:
    """float32 (count, 3): factors of brightness, contrast and saturation, each uniform in 1 ± strength."""
    return 1.0 + strength * (2.0 * torch.rand(count, 3, generator=generator) - 1.0)


def jitter_color(pixels: Tensor, factors: Tensor) -> Tensor:
    """uint8 (N, C, H, W) and factors (N, 3) → uint8 (N, C, H, W).

    Always in this order: brightness scales the pixels, contrast their distance from the image's mean grey, saturation
    their distance from their own grey; each result is cut to 0…255. Grey images have no saturation to change.
    """
    brightness, contrast, saturation = factors[:, :, None, None, None].unbind(1)
    bright = (pixels.float() * brightness).clamp_(0.0, 255.0)
    mean = _grey(bright).mean((2, 3), keepdim=True)
    result = torch.lerp(mean, bright, contrast).clamp_(0.0, 255.0)
    if pixels.shape[1] == 3:
        result = torch.lerp(_grey(result), result, saturation).clamp_(0.0, 255.0)
    return result.round_().to(torch.uint8)


def _grey(pixels: Tensor) -> Tensor:
    """float (N, C, H, W) → (N, 1, H, W): luma of three colours, the mean of any other number of channels."""
    if pixels.shape[1] != 3:
        return pixels.mean(1, keepdim=True)
    red, green, blue = RGB_TO_GREY
    return red * pixels[:, 0:1] + green * pixels[:, 1:2] + blue * pixels[:, 2:3]
