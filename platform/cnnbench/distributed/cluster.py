"""Ray itself: which cluster, what each trial gets of it, how many at once."""

import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.autoscaler.sdk import request_resources
from ray.tune import PlacementGroupFactory

from cnnbench.distributed import authentication
from cnnbench.distributed.interruption import pause
from cnnbench.study import Resources

WAIT_S = 900.0  # a GPU node of a cloud takes minutes to start
POLL_S = 5.0
LOOK_S = 5.0  # between two looks at the cluster's size
MOST_ASKED = 1000  # trials that a cluster is asked to have room for; its own max_workers is the limit


class ClusterError(Exception):
    """A cluster that can't run the study; the message says what was asked and what there is."""


@contextmanager
def connected(resources: Resources, log: Path) -> Iterator[None]:
    """Ray, for as long as the block runs: the cluster that this machine belongs to, or a local one. Ray's own messages
    go to the file ``log``. Raises ClusterError."""
    _log_to(log)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads of a worker that wait don't take others' cores
    on_sigterm = signal.getsignal(signal.SIGTERM)
    address = None if resources.cluster == "auto" else resources.cluster  # None: as `ray start` wrote it down
    try:
        authentication.secure(address)
        ray.init(
            address=address,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError, RuntimeError, authentication.TokenError) as error:
        raise ClusterError(f"resources.cluster: {resources.cluster}: {str(error).splitlines()[0]}") from None
    _set_sigterm(on_sigterm)
    try:
        yield
    finally:
        _shut_down()
        _set_sigterm(on_sigterm)


def _set_sigterm(handler: Any) -> None:
    """Ray sets a handler of its own when it starts, which aborts the process, and none when it ends: one that was there
    before comes back."""
    if callable(handler) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _shut_down() -> None:
    """Ends the connection. Ray ends the whole process, with exit code 1, if one of its objects is released meanwhile:
    no garbage collection, which any thread may begin, must run into it."""
    gc.collect()
    gc.disable()
    try:
        ray.shutdown()
    finally:
        gc.enable()


class _LogFile(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """A disk that is full for this file is so for others, which say it in a line and not with a traceback."""


def _log_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _LogFile(path, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logger = logging.getLogger(name)
        logger.handlers = [handler] if name == "ray" else []
        logger.propagate = name != "ray"
    # Ray prints what its nodes tell of lost processes, whatever log_to_driver says; a stage says that in a line.
    ray._private.worker.print_to_stdstream = _to_log


def _to_log(data: Mapping[str, Any], ignore_prefix: bool) -> None:
    """In place of Ray's function that prints a message from a node."""
    for line in data["lines"]:
        logging.getLogger("ray").warning("%s", line)


@dataclass(frozen=True)
class Share:
    """What a trial gets of the cluster. cpus, gpus: of each of its workers, each of which runs on one node."""

    workers: int
    cpus: float
    gpus: float

    @property
    def need(self) -> dict[str, float]:
        """Ray's resources of one worker."""
        return {"CPU": self.cpus, **({"GPU": self.gpus} if self.gpus else {})}

    def placement(self) -> PlacementGroupFactory:
        """Tune's resources of one trial. Several workers are placed by Ray Train; the Tune function that starts them
        takes nothing but a place on the head node."""
        if self.workers > 1:
            return PlacementGroupFactory([{"node:__internal_head__": 0.001}])
        return PlacementGroupFactory([self.need])

    def fits(self, nodes: Sequence[Mapping[str, float]]) -> int:
        """How many trials run at once on nodes with these resources."""
        return sum(map(self.workers_on, nodes)) // self.workers

    def workers_on(self, node: Mapping[str, float]) -> int:
        """How many workers one node takes."""
        return min(int(node.get(name, 0.0) / amount + 1e-9) for name, amount in self.need.items())


def nodes() -> list[dict[str, float]]:
    """The resources of each node that is alive."""
    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def share(resources: Resources, workers: int, say: Callable[[str], None], interrupted: threading.Event) -> Share:
    """What a trial of ``workers`` workers gets. A cluster that is not local is asked to grow, and given WAIT_S seconds.
    Raises ClusterError if a trial doesn't fit, and Interrupted."""
    deadline = time.monotonic() + WAIT_S
    said = ""
    while True:
        there = nodes()
        cpus, all_gpus = (sum(node.get(name, 0.0) for node in there) for name in ("CPU", "GPU"))
        gpus = (1.0 if all_gpus else 0.0) if resources.gpus == "auto" else resources.gpus
        wanted = Share(workers, resources.cpus, gpus)
        if wanted.fits(there) >= 1:
            break
        asked = f"{workers} × {resources.cpus:g} CPUs" + (f" and {workers} × {gpus:g} GPUs" if gpus else "")
        problem = f"a trial takes {asked}, and the cluster has {cpus:g} CPUs and {all_gpus:g} GPUs in all"
        if is_local() or time.monotonic() > deadline:
            raise ClusterError(
                f"resources: {problem}; lower resources.workers, resources.cpus, resources.gpus or finals.workers"
            )
        if problem != said:
            say(f"waiting for nodes: {problem}")
            said = problem
        request_resources(bundles=[wanted.need] * workers)
        pause(POLL_S, interrupted)
    return wanted


def is_local() -> bool:
    """True for a Ray that this process started."""
    node = ray._private.worker._global_node
    return node is not None and node.head


class Slots:
    """How many trials run at once: as many as fit on the cluster as it is now, or the number that the study fixes. A
    cluster that can grow is asked for room for what is waiting, and told when it is needed no longer."""

    def __init__(self, resources: Resources, share: Share, waiting: Callable[[], int]) -> None:
        """waiting: how many trials have not begun."""
        fixed = resources.concurrent_trials
        self._most = None if fixed == "auto" else fixed
        self._share = share
        self._waiting = waiting
        self._looked = -LOOK_S
        self._fits = 0
        self._asked = 0

    def __call__(self, running: int) -> int:
        """Trials at once, given how many run now; what the cluster has is looked up every LOOK_S seconds."""
        if time.monotonic() - self._looked >= LOOK_S:
            self._looked = time.monotonic()
            self._fits = self._share.fits(nodes())
            self._ask_for_room(running + self._waiting())
        return self._fits if self._most is None else self._most

    def _ask_for_room(self, trials: int) -> None:
        wanted = min(trials, MOST_ASKED if self._most is None else self._most)
        if wanted != self._asked and not is_local():
            request_resources(bundles=[self._share.need] * (wanted * self._share.workers))
            self._asked = wanted

    def close(self) -> None:
        """Nodes that nobody uses may go."""
        self._ask_for_room(0)
