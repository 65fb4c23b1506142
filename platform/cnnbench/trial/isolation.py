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

READERS = (
    *("cnnbench.data.datasets", "cnnbench.data.sources", "cnnbench.data.decoding", "cnnbench.data.digits"),
    *("cnnbench.data.idx", "cnnbench.data.cifar", "cnnbench.data.parquet", "cnnbench.data.image_folder"),
    *("cnnbench.data.fake", "cnnbench.trial.study_images", "sklearn.datasets"),
)
ENVIRONMENT = ("CNNBENCH_DATA",)


class Secluded(ImportError):
    """A trial's process asked for a reader of data sets."""


class _Refusal(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if any(fullname == reader or fullname.startswith(f"{reader}.") for reader in READERS):
            raise Secluded(f"{fullname}: a trial's process reads no data set; it is handed its images", name=fullname)
        return None


def seclude() -> None:
    """Shuts this process off from the readers, for good. A second call does nothing."""
    for name in ENVIRONMENT:
        os.environ.pop(name, None)
    if any(isinstance(finder, _Refusal) for finder in sys.meta_path):
        return
    for name in [name for name in sys.modules if name.startswith(READERS)]:
        del sys.modules[name]
    sys.meta_path.insert(0, _Refusal())
