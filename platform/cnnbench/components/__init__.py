"""The components that a study may swap, and ``swap``, which puts them into a network of any kind. Importing this
package registers what every file in it has."""

from cnnbench.components.graph import is_normalized
from cnnbench.components.kinds import COMPONENTS, NAMES, ComponentError, allowed, check
from cnnbench.components.swap import KindReport, SiteReport, count_sites, refusals, swap
from cnnbench.registry import import_files

# A file is of a kind, with its usual values, or of one more value, which stands behind them.
import_files(__name__, __path__, tuple(NAMES))

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
