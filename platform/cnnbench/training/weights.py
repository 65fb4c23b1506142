"""A network's weights alone, for prediction and export; a file that is read can't run code."""

import io
import os
from pathlib import Path

import torch
from torch import Tensor, nn

from cnnbench.whole_file import write_aside


class WeightsError(ValueError):
    """A weights file that can't be used; the message names the file and what is wrong with it."""


def save_weights(network: nn.Module, path: Path) -> None:
    """Writes the state dict whole: as safetensors if the suffix is .safetensors, else as torch's file."""
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
    if path.suffix == ".safetensors":
        from safetensors.torch import save

        content: bytes = save(weights)
    else:
        buffer = io.BytesIO()
        torch.save(weights, buffer)
        content = buffer.getvalue()
    os.replace(write_aside(path, content), path)


def load_weights(network: nn.Module, path: Path) -> None:
    """Reads what save_weights wrote into ``network``, in place; names and shapes must match. Raises WeightsError."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load

            weights: dict[str, Tensor] = load(path.read_bytes())
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
    except ImportError:
        raise
    except Exception as error:  # unpickling and safetensors raise kinds of their own
        raise WeightsError(f"{path}: {str(error).strip() or type(error).__name__}") from error
