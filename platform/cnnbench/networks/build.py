"""The door to every network: an architecture, its small-image stem, then its components."""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from cnnbench.architectures import ARCHITECTURES
from cnnbench.components import SiteReport, check, count_sites, swap
from cnnbench.errors import UserError
from cnnbench.networks.spec import NetworkSpec
from cnnbench.registry import UnknownName

SMALL_IMAGE = 96  # pixels; below, stem "auto" is the small one


class BuildError(UserError, ValueError):
    """An architecture or option that can't be built; the message names it and says what is allowed."""


def build(spec: NetworkSpec, *, allow_unreached: bool = False) -> tuple[nn.Module, SiteReport]:
    """Returns the network and the report of its components' sites and its stem. Under ``torch.device("meta")`` it
    checks everything and allocates nothing.

    Raises BuildError and ComponentError (both ValueError); with ``allow_unreached`` a component that does not reach
    all sites is no error, and the report says what it reached.
    """
    for kind, value in spec.components.items():
        if value is not None:
            check(kind, value)
    network, stem = _plain(spec)
    network, report = swap(
        network, spec.components, spec.image, name=spec.architecture, allow_unreached=allow_unreached
    )
    return network, replace(report, stem=stem)


def sites(spec: NetworkSpec) -> Mapping[str, int]:
    """Kind → the number of sites that a component of that kind has; 0: it would reach nothing. Allocates nothing."""
    with torch.device("meta"):
        return count_sites(_plain(spec)[0], spec.image)


def _plain(spec: NetworkSpec) -> tuple[nn.Module, str]:
    """The architecture as written, and its stem."""
    architecture = spec.architecture
    try:
        entry = ARCHITECTURES[architecture]
    except UnknownName as error:
        raise BuildError(str(error)) from None
    multipliers = {"width": spec.width, "depth": spec.depth}
    numbers = {"classes": spec.classes, "channels": spec.channels, "image_size": spec.image_size, **multipliers}
    for name, number in numbers.items():
        if not number > 0:
            raise BuildError(f"{architecture}: {name} is {number}; it must be above 0")
    stem = _stem(architecture, entry.facts["smallest"], spec.stem, spec.image_size)
    has = inspect.signature(entry.thing).parameters
    for name, multiplier in multipliers.items():
        if multiplier != 1 and name not in has:
            raise BuildError(f"{architecture}: it has no {name} multiplier; {name} must be 1")
    given: dict[str, Any] = {"stem": stem, "image_size": spec.image_size, **multipliers}
    options = {name: value for name, value in given.items() if name in has}
    try:
        return entry.thing(spec.classes, spec.channels, **options), stem
    except ValueError as error:
        raise BuildError(str(error)) from error


def _stem(architecture: str, smallest: Mapping[str, int], stem: str, image_size: int) -> str:
    if stem == "auto":
        preferred = "imagenet" if image_size >= SMALL_IMAGE and "imagenet" in smallest else "small"
        stem = preferred if preferred in smallest else next(iter(smallest))
    if stem not in smallest:
        raise BuildError(f"{architecture}: unknown stem {stem!r}; choose from auto, {', '.join(smallest)}")
    if image_size < smallest[stem]:
        raise BuildError(
            f"{architecture}: images of {image_size} pixels are too small for its {stem} stem; "
            f"the smallest it takes is {smallest[stem]}"
        )
    return stem
