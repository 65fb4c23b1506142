"""One size and one number of channels for all images of a data set, made once when it is loaded."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnbench.data.images import Images

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's convert("L")


def fit(images: Images, image_size: int | None, channels: int | None) -> Images:
    """The images as squares of ``image_size`` pixels with 1 (grey) or 3 (colour) channels; None keeps what is there."""
    pixels = with_channels(images.pixels, channels or images.pixels.shape[1])
    if image_size is not None and pixels.shape[2:] != (image_size, image_size):
        # antialiased bilinear, as torchvision's Resize; torch has a kernel for uint8 itself
        pixels = F.interpolate(pixels, (image_size, image_size), mode="bilinear", antialias=True)
    return images if pixels is images.pixels else Images(pixels.contiguous(), images.labels, images.classes)


def with_channels(pixels: Tensor, channels: int) -> Tensor:
    """uint8 (N, C, H, W) → uint8 (N, channels, H, W). Raises ValueError unless both are 1 or 3."""
    if channels not in (1, 3) or pixels.shape[1] not in (1, 3):
        raise ValueError(f"channels: {channels} from {pixels.shape[1]}; choose 1 (grey) or 3 (colour)")
    if pixels.shape[1] == channels:
        return pixels
    if channels == 3:
        return pixels.expand(-1, 3, -1, -1).contiguous()
    weights = torch.tensor(LUMA).view(1, 3, 1, 1)
    grey = torch.empty_like(pixels[:, :1])
    for start in range(0, len(pixels), 4096):  # as float the whole set would be large
        part = slice(start, start + 4096)
        grey[part] = (pixels[part] * weights).sum(1, keepdim=True).round_().to(torch.uint8)
    return grey
