"""The components that a study may swap, and ``swap``, which puts them into a network of any kind."""

from cnnbench.components import (  # noqa: F401
    activation,
    attention,
    convolution,
    global_pooling,
    initialization,
    normalization,
    window_pooling,
)
from cnnbench.components.graph import is_normalized
from cnnbench.components.kinds import COMPONENTS, ComponentError, allowed, check
from cnnbench.components.swap import KindReport, SiteReport, count_sites, refusals, swap

__all__ = [
    "COMPONENTS",
    "ComponentError",
    "KindReport",
    "SiteReport",
    "allowed",
    "check",
    "count_sites",
    "is_normalized",
    "refusals",
    "swap",
]
