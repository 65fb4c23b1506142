"""DropBlock (Ghiasi et al. 2018, arXiv:1810.12890): dropout of whole squares of a map."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DropBlock2d(nn.Module):
    """In training sets squares of the maps (N, C, H, W) to zero, drawn for each image and channel by itself, and scales
    up what is kept, so that the whole batch keeps its mean; in evaluation it returns its input.

    p: about the share that is dropped. block_size: the square's side in pixels, clipped to the map's shorter side, as
    the paper has it: torchvision.ops.DropBlock2d, which is the same for an odd side, refuses an even one.
    """

    def __init__(self, p: float, block_size: int = 7) -> None:
        super().__init__()
        self.p = p
        self.block_size = block_size

    def extra_repr(self) -> str:
        return f"p={self.p}, block_size={self.block_size}"

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        kept = self._keep(x)
        share = kept.mean(dtype=torch.float32).clamp(min=1 / kept.numel())  # nothing kept: zeros, not 0/0
        return x * (kept / share).to(x.dtype)

    @torch.no_grad()
    def _keep(self, x: Tensor) -> Tensor:
        """The paper's mask: 1 for what is kept, in float32."""
        height, width = x.shape[2:]
        size = min(self.block_size, height, width)
        rows, columns = height - size + 1, width - size + 1  # where a block may begin and still lie in the map
        rate = self.p * height * width / (size**2 * rows * columns)  # equation 1's γ
        begins = torch.empty((*x.shape[:2], rows, columns), dtype=torch.float32, device=x.device).bernoulli_(rate)
        # a block is where a beginning lies at most size - 1 above and left: the maximum over rows, then over columns
        padded = F.pad(begins, (size - 1,) * 4)
        dropped = F.max_pool2d(F.max_pool2d(padded, (size, 1), stride=1), (1, size), stride=1)
        return 1 - dropped
