"""What a cluster is asked before a study starts on it, on two real raylets; and how many trials run on it at once."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from cnnbench.distributed import preflight
from cnnbench.distributed.cluster import ClusterError, Share, Slots
from cnnbench.distributed.interruption import Interrupted
from cnnbench.storage.remote import RemoteFolder
from cnnbench.study import Resources, Study, parse
from cnnbench.vocabulary import vocabulary

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

STUDY = "study: s\ndata: {dataset: digits}\narchitectures: [lenet5]\nbudget: {trials: 1, epochs: 1}\n"
ONE_CPU = Share(workers=1, cpus=1.0, gpus=0.0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without CPUs and a node with two, as clusters are."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        cluster.add_node(num_cpus=2)
        ray.init(address=cluster.address, log_to_driver=False)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def study(storage: Path, wanted: int | None = None) -> Study:
    return parse(STUDY, vocabulary(), [f"storage={storage}", f"resources.nodes={wanted or 'null'}"])


def test_nodes_that_agree_and_share_the_storage_are_let_through(cluster: Cluster, tmp_path: Path) -> None:
    said: list[str] = []
    preflight.preflight(study(tmp_path, wanted=1), ONE_CPU, said.append, threading.Event())
    assert said == [f"2 nodes: versions agree, and each sees what the others write to {(tmp_path / 's').as_uri()}"]
    assert list((tmp_path / "s" / "nodes").iterdir()) == []  # the files that it wrote are gone


def test_a_node_that_is_gone_is_named(cluster: Cluster, tmp_path: Path) -> None:
    there = preflight.nodes_there()
    gone = preflight.Node("a" * len(there[0].id), "10.9.9.9", has_gpu=False)
    (problem,) = preflight.examine([*there, gone], RemoteFolder(tmp_path.as_uri()))
    assert problem.startswith("10.9.9.9: it can't run cnnbench")


def test_waiting_for_nodes_that_do_not_come_is_said_and_can_be_stopped(cluster: Cluster, tmp_path: Path) -> None:
    said: list[str] = []
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(Interrupted):
        preflight.preflight(study(tmp_path, wanted=3), ONE_CPU, said.append, stopped)
    assert said == ["waiting for nodes: 1 of 3 are there"]


def test_nodes_that_did_not_come_in_time_end_it(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "WAIT_S", -1.0)
    with pytest.raises(ClusterError, match=r"resources\.nodes: 3 nodes are wanted, and 1 came"):
        preflight.preflight(study(tmp_path, wanted=3), ONE_CPU, print, threading.Event())


def test_trials_at_once_follow_the_cluster_as_it_grows_and_shrinks(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnnbench.distributed.cluster.LOOK_S", 0.0)
    slots = Slots(Resources(), ONE_CPU, waiting=lambda: 5)
    fixed = Slots(Resources(concurrent_trials=7), ONE_CPU, waiting=lambda: 5)
    assert (slots(running=0), fixed(running=0)) == (2, 7)
    more = cluster.add_node(num_cpus=3)
    assert (slots(running=2), fixed(running=2)) == (5, 7)
    cluster.remove_node(more)
    assert slots(running=5) == 2
    slots.close()


def test_a_worker_is_on_one_node_and_a_trials_workers_on_any() -> None:
    there = [{"CPU": 0.0}, {"CPU": 3.0, "GPU": 1.0}, {"CPU": 3.0, "GPU": 1.0}]
    assert Share(workers=1, cpus=2.0, gpus=0.0).fits(there) == 2  # and not 6 / 2
    assert Share(workers=2, cpus=1.0, gpus=1.0).fits(there) == 1
    assert Share(workers=1, cpus=0.1, gpus=0.1).fits(there) == 20
    assert Share(workers=3, cpus=1.0, gpus=1.0).fits(there) == 0


def test_versions_that_differ_are_named_with_their_nodes() -> None:
    found = {
        "10.0.0.1": {"Python": "3.11.7", "torch": "2.15.0"},
        "10.0.0.2": {"Python": "3.11.7", "torch": "2.14.0"},
        "10.0.0.3": {"Python": "3.11.7", "torch": "2.15.0"},
        "10.0.0.4": {"Python": "3.11.7"},
    }
    (problem,) = preflight.different_versions(found)
    assert problem.startswith(
        "torch: 2.15.0 on 10.0.0.1 and 10.0.0.3, 2.14.0 on 10.0.0.2, missing on 10.0.0.4; install"
    )


def test_storage_that_a_node_does_not_share_is_named() -> None:
    a, b, c = (preflight.Node(name, f"10.0.0.{number}", has_gpu=False) for number, name in enumerate("abc", 1))
    assert preflight.not_shared({a: ["a", "b"], b: ["a", "b"], c: ["a", "b"]}, {a, b}, "/s") == []
    (problem,) = preflight.not_shared({a: ["a", "b"], b: ["b"]}, {a, b}, "/s")
    assert problem.startswith("10.0.0.2: storage: it does not see what 10.0.0.1 wrote to /s; give `storage` a folder")


def test_the_source_is_a_version_too() -> None:
    versions = preflight.own_versions()
    assert {"Python", "torch", "ray", "cnnbench", "cnnbench's source"} <= versions.keys()
    assert len(versions["cnnbench's source"]) == 12
