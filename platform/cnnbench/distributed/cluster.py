"""Ray itself: which cluster, what each trial gets of it, how many at once."""

import gc
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.autoscaler.sdk import request_resources
from ray.tune import PlacementGroupFactory

from cnnbench.study import Resources

WAIT_S = 900.0  # a GPU node of a cloud takes minutes to start
POLL_S = 15.0


class ClusterError(Exception):
    """A cluster that can't run the study; the message says what was asked and what there is."""


@contextmanager
def connected(resources: Resources, log: Path) -> Iterator[None]:
    """Ray, for as long as the block runs: the cluster that this machine belongs to, or a local one. Ray's own messages
    go to the file ``log``. Raises ClusterError."""
    _log_to(log)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads of a worker that wait don't take others' cores
    try:
        ray.init(
            address=None if resources.cluster == "auto" else resources.cluster,  # None: as `ray start` wrote it down
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ClusterError(f"resources.cluster: {resources.cluster}: {str(error).splitlines()[0]}") from None
    try:
        yield
    finally:
        _shut_down()


def _shut_down() -> None:
    """Ends the connection. Ray ends the whole process, with exit code 1, if one of its objects is released meanwhile:
    no garbage collection, which any thread may begin, must run into it."""
    gc.collect()
    gc.disable()
    try:
        ray.shutdown()
    finally:
        gc.enable()


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


def share(resources: Resources, workers: int, say: Callable[[str], None]) -> Share:
    """What a trial of ``workers`` workers gets. A cluster that is not local is asked to grow, and given WAIT_S seconds.
    Raises ClusterError if a trial doesn't fit."""
    deadline = time.monotonic() + WAIT_S
    while True:
        there = ray.cluster_resources()
        cpus, all_gpus = there.get("CPU", 0.0), there.get("GPU", 0.0)
        gpus = (1.0 if all_gpus else 0.0) if resources.gpus == "auto" else resources.gpus
        fits = int(cpus / (resources.cpus * workers))
        if gpus:
            fits = min(fits, int(all_gpus / (gpus * workers)))
        if fits >= 1:
            break
        need = {"CPU": resources.cpus, **({"GPU": gpus} if gpus else {})}
        asked = f"{workers} × {resources.cpus:g} CPUs" + (f" and {workers} × {gpus:g} GPUs" if gpus else "")
        problem = f"a trial takes {asked}, and the cluster has {cpus:g} CPUs and {all_gpus:g} GPUs in all"
        if _is_local() or time.monotonic() > deadline:
            raise ClusterError(
                f"resources: {problem}; lower resources.workers, resources.cpus, resources.gpus or finals.workers"
            )
        say(f"waiting for nodes: {problem}")
        request_resources(bundles=[need] * workers)
        time.sleep(POLL_S)
    request_resources(bundles=[])
    concurrent = fits if resources.concurrent_trials == "auto" else resources.concurrent_trials
    return Share(gpus, concurrent, workers, resources.cpus)


def _is_local() -> bool:
    """True for a Ray that this process started."""
    node = ray._private.worker._global_node
    return node is not None and node.head
