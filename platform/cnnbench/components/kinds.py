"""The kinds of component, the values that each takes, and what a component is told of the place it goes to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from cnnbench.errors import UserError
from cnnbench.nearest import alternatives
from cnnbench.registry import Registry


class ComponentError(UserError, ValueError):
    """A component that can't be put in; the message says which, where, why and what would work."""


class Unsuitable(ValueError):
    """A factory's word that its component can't stand in this one place; the message says why and what would work."""


@dataclass(frozen=True)
class Window:
    """A pooling window, in pixels."""

    kernel_size: int | tuple[int, int]
    stride: int | tuple[int, int]
    padding: int | tuple[int, int] = 0
    ceil_mode: bool = False
    dilation: int | tuple[int, int] = 1


@dataclass(frozen=True)
class Convolution:
    """A two-dimensional convolution's arguments, as torch.nn.Conv2d has them; sizes in pixels, (height, width)."""

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    bias: bool = True
    padding_mode: str = "zeros"


@dataclass(frozen=True)
class Place:
    """Where a component goes: ``shape`` is its input's at a batch of one, with the channels in ``channel_dim``; window,
    convolution: what stands there, of a pooling's or a convolution's place."""

    shape: tuple[int, ...]
    channel_dim: int = 1
    window: Window | None = None
    convolution: Convolution | None = None

    @property
    def channels(self) -> int:
        return self.shape[self.channel_dim]

    @property
    def positions(self) -> int:
        """Pixels of one channel's map."""
        count = 1
        for dim, size in enumerate(self.shape):
            count *= size if dim not in (0, self.channel_dim) else 1
        return count


Factory = Callable[[Place], nn.Module]
# Sets a layer's weights anew; the flag is true for the layer that makes the logits.
Initializer = Callable[[nn.Conv2d | nn.Linear, bool], None]

# Facts of an entry: same_as, the module class, functions and method names that are this value in a network already;
# same_with, argument → the value that it must have for that, or a function that gives it for a number of channels.
COMPONENTS: dict[str, Registry[Factory]] = {
    kind: Registry(kind, f"cnnbench choices {kind}")
    for kind in ("activation", "window_pooling", "global_pooling", "normalization", "attention", "convolution")
}
INITIALIZATIONS: Registry[Initializer] = Registry("initialization", "cnnbench choices initialization")
NAMES: dict[str, Registry[Any]] = {**COMPONENTS, "initialization": INITIALIZATIONS}  # kinds whose value is a name
NUMBERS: dict[str, tuple[float, float]] = {  # kinds whose value is a number, with its range
    "dropout": (0.0, 1.0),
    "dropout2d": (0.0, 1.0),
    "drop_block": (0.0, 1.0),
    "stochastic_depth": (0.0, 1.0),
}
KINDS: tuple[str, ...] = (*NAMES, *NUMBERS)

# Kind → where its components go. A map is (N, channels, height, width), above 1×1.
SITES_OF: dict[str, str] = {
    "activation": "each activation that is no gate's",
    "window_pooling": "each max or average pooling over a sliding window",
    "global_pooling": "each pooling of whole maps to one number a channel",
    "normalization": "each normalisation of maps; without any, behind each convolution but one that makes the logits",
    "attention": "each attention module; without any, the end of each residual branch of maps; without those, behind "
    "the activation of each convolution of maps",
    "convolution": "each convolution of maps whose windows overlap (no 1×1, no patches), but gates' and the network's "
    "first",
    "initialization": "each convolution and linear layer",
    "dropout": "each dropout of single values; without any, before the last layer",
    "dropout2d": "each dropout of whole channels; without any, the end of each residual branch of maps; without those, "
    "behind the activation of each convolution of maps",
    "drop_block": "each DropBlock; without any, in maps of the two smallest sizes, behind each convolution with its "
    "norm and activation, and in each residual block's shortcut",
    "stochastic_depth": "the end of each residual branch",
}


def allowed(kind: str) -> tuple[str, ...] | str:
    """The names that ``kind`` takes, or, for a number, its range in words. Raises ComponentError for no kind."""
    if kind in NUMBERS:
        low, high = NUMBERS[kind]
        return f"number from {low:g} to {high:g}"
    if kind in NAMES:
        return tuple(NAMES[kind])
    raise ComponentError(f"unknown component {kind!r}; {alternatives(kind, KINDS, 'cnnbench choices')}")


def check(kind: str, value: object) -> None:
    """Raises ComponentError, which says what is allowed, unless ``kind`` exists and takes ``value``."""
    values = allowed(kind)
    if isinstance(values, tuple):
        if value not in values:
            raise ComponentError(
                f"{kind}: unknown value {value!r}; {alternatives(value, values, f'cnnbench choices {kind}')}"
            )
        return
    low, high = NUMBERS[kind]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ComponentError(f"{kind}: {value!r} is not allowed; give a {values}")


class ChannelsLast(nn.Module):
    """Applies a module that wants the channels in dimension 1 to a tensor that has them in the last."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x.movedim(-1, 1))
        return y.movedim(1, -1)


def in_layout(module: nn.Module, place: Place) -> nn.Module:
    """``module``, which wants the channels in dimension 1, made to fit ``place``."""
    return module if place.channel_dim == 1 else ChannelsLast(module)
