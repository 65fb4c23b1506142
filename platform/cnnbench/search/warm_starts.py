"""What a search tries before it draws: the recipe's defaults, and what a short training wants instead.

The usual weight decay is one for a long training on a large data set; for a shorter one it is too small. By the rule of
normalised weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101, appendix B.1) it goes by √(b / BT): b images in an
optimizer step, BT images that a training sees. That holds where normalisations undo the scale of the weights before
them, and decay sets how fast these turn (van Laarhoven 2017, arXiv:1706.05350); in a network without any, a large one
makes the outputs small.
"""

import math
from collections.abc import Mapping

from cnnbench.study.space import Choice, Domain, Fixed, FloatRange, IntRange, Space, Value
from cnnbench.training.recipe import KNOBS, Recipe
from cnnbench.vocabulary import ORIGINAL

FAST = 3.0  # times the usual learning rate, the knob that matters most (arXiv:1206.5533)
# Images that a training sees for which the recipe's weight decay is usual: CIFAR's 50,000, 200 times in batches of 128
# (Zagoruyko & Komodakis 2016, arXiv:1605.07146)
USUAL_IMAGES, USUAL_BATCH = 200 * 50_000, 128


def warm_starts(space: Space, trial_images: int | None = None, *, normalized: bool) -> list[dict[str, Value]]:
    """The usual values; and the same at a higher learning rate, with the weight decay that suits ``trial_images``,
    images that a whole trial trains on, each as often as it does (None: the usual one). As far as ``space`` has them;
    one alone where both are the same. normalized: whether the architecture as it is has normalisations; a trial without
    any has the usual weight decay."""
    usual = usual_values(space)
    values = dict(usual)
    if isinstance(usual_rate := usual.get("lr"), float):
        _move("lr", FAST * usual_rate, space, values)
    if trial_images is not None and _has_normalizations(values, normalized):
        _move("weight_decay", suitable_weight_decay(trial_images, usual), space, values)
    return [usual] if values == usual else [usual, values]


def suitable_weight_decay(trial_images: int, values: Mapping[str, Value]) -> float:
    """The recipe's weight decay for a training on ``trial_images`` images in all, in the batches of ``values``."""
    sizes = (values.get(name, KNOBS[name].default) for name in ("batch_size", "accumulation_steps"))
    steps = trial_images / math.prod(size for size in sizes if isinstance(size, int))
    return Recipe().weight_decay * math.sqrt(USUAL_IMAGES / USUAL_BATCH / steps)


def _has_normalizations(values: Mapping[str, Value], normalized: bool) -> bool:
    """Whether a network has normalisations with the component that ``values`` may put in their place."""
    component = values.get("normalization", ORIGINAL)
    return normalized if component == ORIGINAL else component != "none"


def _move(name: str, value: float, space: Space, values: dict[str, Value]) -> None:
    """Sets ``name`` where it is searched over a range, to what in it is nearest to ``value``."""
    domain = _domain_of(name, space, values)
    if isinstance(domain, FloatRange):
        values[name] = min(domain.high, max(domain.low, value))


def _domain_of(name: str, space: Space, values: Mapping[str, Value]) -> Domain | None:
    """Where ``values`` has ``name`` from: ``space``, or what lies below a choice it made; None if nowhere."""
    if name in space:
        return space[name]
    below = (
        _domain_of(name, domain.options[values[choice]], values)
        for choice, domain in space.items()
        if isinstance(domain, Choice)
    )
    return next((domain for domain in below if domain is not None), None)


def usual_values(space: Space) -> dict[str, Value]:
    """The recipe's defaults and the architecture's own components, as far as ``space`` has them; else the first option
    of a choice and the middle of a range."""
    values: dict[str, Value] = {}
    for name, domain in space.items():
        usual = KNOBS[name].default if name in KNOBS else ORIGINAL
        if isinstance(domain, Fixed):
            values[name] = domain.value
        elif isinstance(domain, Choice):
            option = usual if usual in domain.options else next(iter(domain.options))
            values[name] = option
            values.update(usual_values(domain.options[option]))
        elif isinstance(usual, int | float) and domain.low <= usual <= domain.high:
            values[name] = usual
        else:
            values[name] = _middle(domain)
    return values


def _middle(domain: FloatRange | IntRange) -> float | int:
    low, high = domain.low, domain.high
    middle = math.sqrt(low * high) if domain.log else (low + high) / 2
    if isinstance(domain, FloatRange):
        return middle
    return low + round((middle - low) / domain.step) * domain.step
