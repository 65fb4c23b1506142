"""Ray itself: which cluster, what each trial gets of it, how many at once."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.tune import PlacementGroupFactory

from cnnbench.study import Resources


class ClusterError(Exception):
    """A cluster that can't run the study; the message says what was asked and what there is."""


@contextmanager
def connected(resources: Resources, log: Path) -> Iterator[None]:
    """Ray, for as long as the block runs: the cluster that this machine belongs to, or a local one. Ray's own messages
    go to the file ``log``."""
    _log_to(log)
    ray.init(
        address=None if resources.cluster == "auto" else resources.cluster,  # None: as `ray start` wrote it down
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        yield
    finally:
        ray.shutdown()


def _log_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logger = logging.getLogger(name)
        logger.handlers = [handler] if name == "ray" else []
        logger.propagate = name != "ray"


@dataclass(frozen=True)
class Share:
    """What a stage gets of the cluster. gpus: of each worker; concurrent: trials at once."""

    gpus: float
    concurrent: int
    workers: int
    cpus: float

    def placement(self) -> PlacementGroupFactory:
        """Tune's resources of one trial. Several workers are placed by Ray Train; the Tune function that starts them
        takes nothing but a place on the head node."""
        if self.workers > 1:
            return PlacementGroupFactory([{"node:__internal_head__": 0.001}])
        return PlacementGroupFactory([{"CPU": self.cpus, **({"GPU": self.gpus} if self.gpus else {})}])


def share(resources: Resources, workers: int) -> Share:
    """What a trial of ``workers`` workers gets. Raises ClusterError if the cluster hasn't got it."""
    there = ray.cluster_resources()
    cpus, all_gpus = there.get("CPU", 0.0), there.get("GPU", 0.0)
    gpus = (1.0 if all_gpus else 0.0) if resources.gpus == "auto" else resources.gpus
    fits = cpus / (resources.cpus * workers)
    if gpus:
        fits = min(fits, all_gpus / (gpus * workers))
    if int(fits) < 1:
        asked = f"{workers} × {resources.cpus:g} CPUs" + (f" and {workers} × {gpus:g} GPUs" if gpus else "")
        raise ClusterError(
            f"resources: a trial takes {asked}, but the cluster has {cpus:g} CPUs and {all_gpus:g} GPUs in all; "
            "lower resources.workers, resources.cpus, resources.gpus or finals.workers"
        )
    concurrent = int(fits) if resources.concurrent_trials == "auto" else min(resources.concurrent_trials, int(fits))
    return Share(gpus, concurrent, workers, resources.cpus)
