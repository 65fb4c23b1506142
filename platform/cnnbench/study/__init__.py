"""The study file: one YAML document → one frozen ``Study``. Every error is found before anything starts, named by its
field, and reported together with all others.

Names (architectures, data sets, hyperparameters) come in as a ``Vocabulary``, so that this package knows none of them.
"""

from cnnbench.study.fields import (
    FEWEST_SEEDS,
    Architecture,
    Budget,
    Constraints,
    Data,
    Effects,
    Finals,
    Part,
    Resources,
    Search,
    Study,
    StudyError,
    Vocabulary,
)
from cnnbench.study.folder import ReportFolder, StorageFolder, StudyFolder
from cnnbench.study.reading import is_slug, load, parse, read_recorded, recorded_folder

__all__ = [
    "FEWEST_SEEDS", "Architecture", "Budget", "Constraints", "Data", "Effects", "Finals", "Part",
    "ReportFolder", "Resources", "Search", "StorageFolder", "Study", "StudyError", "StudyFolder", "Vocabulary",
    "is_slug", "load", "parse", "read_recorded", "recorded_folder",
]  # fmt: skip
