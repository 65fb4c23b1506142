"""What there is to choose from: the registries joined, for the study file."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cnnbench.architectures import ARCHITECTURES
from cnnbench.components.kinds import KINDS, ComponentError, allowed, check
from cnnbench.data.readers import DATASETS
from cnnbench.study import Vocabulary
from cnnbench.training.recipe import KNOBS, Value

ORIGINAL = "original"  # the component that the architecture's paper has


@dataclass(frozen=True)
class ComponentKnob:
    """A component kind as a hyperparameter: one of its values, or the architecture's own."""

    kind: str
    default: str = ORIGINAL
    belongs_to: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def choices(self) -> tuple[str, ...]:
        """Its names; none where its value is a number."""
        values = allowed(self.kind)
        return (ORIGINAL, *values) if isinstance(values, tuple) else ()

    @property
    def allowed(self) -> str:
        return ", ".join(self.choices) or f"{ORIGINAL}, or a {allowed(self.kind)}"

    def accepts(self, value: object) -> bool:
        if value == ORIGINAL:
            return True
        try:
            check(self.kind, value)
        except ComponentError:
            return False
        return True


# Of a component whose value is a number, and of a hyperparameter that regularises: usual rates, and without it.
_RATES: Mapping[str, tuple[Value, ...]] = {
    "dropout": (ORIGINAL, 0.0, 0.2, 0.5),
    "dropout2d": (ORIGINAL, 0.0, 0.1, 0.2),
    "drop_block": (ORIGINAL, 0.0, 0.1),
    "stochastic_depth": (ORIGINAL, 0.0, 0.1, 0.2),
    "label_smoothing": (0.0, 0.1),
    "mixup": (0.0, 0.2),
    "cutmix": (0.0, 1.0),
    "random_erasing": (0.0, 0.25),
}


def effect_values() -> dict[str, tuple[Value, ...]]:
    """What ``cnnbench effects`` can swap, with all values of each."""
    names = {kind: (ORIGINAL, *allowed(kind)) for kind in KINDS if kind not in _RATES}
    return {**names, **_RATES, "schedule": KNOBS["schedule"].choices}


def vocabulary() -> Vocabulary:
    """The names that a study file may use."""
    components = {kind: ComponentKnob(kind) for kind in KINDS}
    return Vocabulary(ARCHITECTURES, tuple(DATASETS), {**KNOBS, **components}, effect_values())
