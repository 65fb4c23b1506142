"""A training recipe: every hyperparameter of a trial that is not a component, with its range.

The ranges here are the only ones: the study file is checked against them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Knob:
    """What a study file may give a hyperparameter: its type, its choices or its range, and what it belongs to."""

    type: type
    default: Value
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    optional: bool = False  # None switches it off
    belongs_to: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # exists only under these choices

    @property
    def allowed(self) -> str:
        """What is allowed, for an error message."""
        if self.choices:
            return ", ".join(self.choices)
        names = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
        low = f"from {self.low:g}" if self.low is not None else ""
        bounds = [low, f"to {self.high:g}" if self.high is not None else ""]
        return " ".join([names[self.type], *filter(None, bounds)]) + (" or null" if self.optional else "")

    def accepts(self, value: object) -> bool:
        """True if ``value`` has the type and lies in the range; an int is a float, a bool is neither."""
        if value is None:
            return self.optional
        if self.type is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not self.type:
            return False
        if self.choices:
            return value in self.choices
        if isinstance(value, int | float) and not isinstance(value, bool):
            return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
        return True


def _knob(default: Any, type_: type | None = None, **facts: Any) -> Any:
    return field(default=default, metadata={"knob": Knob(type_ or type(default), default, **facts)})


_TINY = 1e-12  # a rate of exactly zero trains nothing


@dataclass(frozen=True)
class Recipe:
    """How one network is trained. Rates are per optimizer step's batch; ``batch_size`` counts images over all workers,
    so that a recipe means the same on any number of them."""

    optimizer: str = _knob("sgd", choices=("sgd", "adam", "adamw", "rmsprop"))
    lr: float = _knob(0.1, low=_TINY, high=100.0)
    momentum: float = _knob(0.9, low=0.0, high=0.9999, belongs_to={"optimizer": ("sgd", "rmsprop")})
    nesterov: bool = _knob(False, belongs_to={"optimizer": ("sgd",)})
    weight_decay: float = _knob(5e-4, low=0.0, high=10.0)  # spares norms and biases
    batch_size: int = _knob(128, low=1, high=65536)
    accumulation_steps: int = _knob(1, low=1, high=1024)  # batches whose gradients make one optimizer step

    schedule: str = _knob(
        "warmup_cosine",
        choices=(
            *("constant", "step", "multi_step", "cosine", "warmup_cosine", "warmup_step", "plateau", "one_cycle"),
        ),
    )
    step_epochs: int = _knob(10, low=1, high=10000, belongs_to={"schedule": ("step", "warmup_step")})
    gamma: float = _knob(0.1, low=_TINY, high=1.0, belongs_to={"schedule": ("step", "multi_step", "warmup_step")})
    first_milestone: float = _knob(0.5, low=0.01, high=0.99, belongs_to={"schedule": ("multi_step",)})  # of all epochs
    second_milestone: float = _knob(0.75, low=0.01, high=0.99, belongs_to={"schedule": ("multi_step",)})
    warmup_epochs: int = _knob(1, low=1, high=1000, belongs_to={"schedule": ("warmup_cosine", "warmup_step")})
    plateau_factor: float = _knob(0.1, low=_TINY, high=0.99, belongs_to={"schedule": ("plateau",)})
    plateau_patience: int = _knob(5, low=0, high=1000, belongs_to={"schedule": ("plateau",)})
    pct_start: float = _knob(0.3, low=0.01, high=0.99, belongs_to={"schedule": ("one_cycle",)})

    label_smoothing: float = _knob(0.0, low=0.0, high=0.99)
    clip_norm: float | None = _knob(None, float, low=_TINY, high=1e6, optional=True)
    clip_value: float | None = _knob(None, float, low=_TINY, high=1e6, optional=True)
    ema_decay: float = _knob(0.0, low=0.0, high=0.99999)  # of the moving average of the weights; 0: none

    crop_padding: int = _knob(0, low=0, high=64)  # pixels; 0: no random crop
    horizontal_flip: bool = _knob(False)
    random_erasing: float = _knob(0.0, low=0.0, high=1.0)  # probability that an image loses a rectangle
    cutout: int = _knob(0, low=0, high=512)  # side of the erased square in pixels; 0: none
    vertical_flip: bool = _knob(False)
    resized_crop: float = _knob(1.0, low=0.01, high=1.0)  # smallest share of the image's area in a crop; 1: none
    rotation: float = _knob(0.0, low=0.0, high=180.0)  # degrees to either side
    translation: float = _knob(0.0, low=0.0, high=1.0)  # share of the image's side, to either side
    scaling: float = _knob(0.0, low=0.0, high=0.9)  # magnified by 1 ± this
    shear: float = _knob(0.0, low=0.0, high=60.0)  # degrees to either side
    color_jitter: float = _knob(0.0, low=0.0, high=1.0)  # brightness, contrast, saturation by 1 ± this
    mixup: float = _knob(0.0, low=0.0, high=100.0)  # Beta distribution's α; 0: none
    cutmix: float = _knob(0.0, low=0.0, high=100.0)  # the same; with mixup on too, each batch has one of the two

    early_stopping_patience: int | None = _knob(None, int, low=1, high=10000, optional=True)  # epochs
    early_stopping_min_delta: float = _knob(0.0, low=0.0, high=1.0)  # of validation accuracy


KNOBS: dict[str, Knob] = {entry.name: entry.metadata["knob"] for entry in fields(Recipe)}


def effective(values: Mapping[str, Value]) -> dict[str, Value]:
    """Every hyperparameter that has an effect under ``values``: theirs, and the defaults of those not given.

    One that belongs to another choice (momentum under adamw) is left out.
    """
    complete = {name: values.get(name, knob.default) for name, knob in KNOBS.items()}
    return {
        name: value
        for name, value in complete.items()
        if all(complete[parent] in needed for parent, needed in KNOBS[name].belongs_to.items())
    }
