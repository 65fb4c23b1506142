"""What a trial's process can't reach: the readers of data sets, and the place where the data lie.

A trial is handed arrays. It needs no reader, so in its process none can be imported, and the environment does not say
where the data root is. This keeps a trial from the test split by construction; it is no sandbox for hostile code, which
could look for files by itself.
"""

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from types import ModuleType

_HERE = __name__.rpartition(".")[0]  # the package, in which ``study_images`` leads to the readers
# Each with all that is in it: so a new data set is out of reach by where it stands.
OUT_OF_REACH = ("cnnbench.data.readers", "cnnbench.data.sources", f"{_HERE}.study_images", "sklearn.datasets")
ENVIRONMENT = ("CNNBENCH_DATA",)


class OutOfReach(ImportError):
    """A trial's process asked for a reader of data sets."""


def _is_out_of_reach(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in OUT_OF_REACH)


class _Refusal(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if _is_out_of_reach(fullname):
            raise OutOfReach(f"{fullname}: a trial's process reads no data set; it is handed its images", name=fullname)
        return None


def isolate() -> None:
    """Shuts this process off from the readers, for good. A second call does nothing."""
    for name in ENVIRONMENT:
        os.environ.pop(name, None)
    if any(isinstance(finder, _Refusal) for finder in sys.meta_path):
        return
    for name in [name for name in sys.modules if _is_out_of_reach(name)]:
        del sys.modules[name]
        package, _, module = name.rpartition(".")
        if package in sys.modules:  # whose attribute it is, too
            vars(sys.modules[package]).pop(module, None)
    sys.meta_path.insert(0, _Refusal())
