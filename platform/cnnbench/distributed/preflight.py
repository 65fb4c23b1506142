"""A cluster before a study starts on it: every node is asked for its versions, and whether what it writes to the
study's storage is seen by all others. What is wrong is said at once, and nothing is trained.

A Ray of one machine is not asked: its trials are processes of the machine that was asked for all of this already.
"""

import contextlib
import hashlib
import platform
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import cnnbench
from cnnbench.distributed.cluster import POLL_S, WAIT_S, ClusterError, Share, is_local
from cnnbench.distributed.interruption import pause
from cnnbench.storage.remote import RemoteError, RemoteFolder
from cnnbench.study import Study, StudyFolder
from cnnbench.trial import machine

ANSWER_S = 180.0  # a node's first process imports torch, from a cold disk
FOLDER = StudyFolder(Path()).nodes.name  # below the study's own place: a file a node


@dataclass(frozen=True)
class Node:
    """One node that is alive, as Ray names it."""

    id: str
    address: str
    has_gpu: bool


@dataclass(frozen=True)
class NodeAnswer:
    """What one node says. unwritable: why it can't write to the storage; "" if it can."""

    versions: Mapping[str, str]
    unwritable: str
    sees_gpu: bool


def nodes_there() -> list[Node]:
    """All nodes that are alive, by address."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    there = [Node(node["NodeID"], node["NodeManagerAddress"], node["Resources"].get("GPU", 0) > 0) for node in alive]
    return sorted(there, key=lambda node: (node.address, node.id))


def wait_for_nodes(count: int, share: Share, say: Callable[[str], None], interrupted: threading.Event) -> None:
    """Until ``count`` nodes are there that take a worker. Raises ClusterError after WAIT_S seconds, and Interrupted."""
    deadline = time.monotonic() + WAIT_S
    said = -1
    while True:
        there = sum(share.workers_on(node["Resources"]) > 0 for node in ray.nodes() if node["Alive"])
        if there >= count:
            return
        if time.monotonic() > deadline:
            raise ClusterError(f"resources.nodes: {count} nodes are wanted, and {there} came within {WAIT_S:.0f} s")
        if there != said:
            say(f"waiting for nodes: {there} of {count} are there")
            said = there
        pause(POLL_S, interrupted)


def preflight(study: Study, share: Share, say: Callable[[str], None], interrupted: threading.Event) -> None:
    """Waits for the nodes that the study asks for, and asks each that is there. Raises ClusterError with all that is
    wrong, and Interrupted."""
    if is_local():
        return
    if study.resources.nodes:
        wait_for_nodes(study.resources.nodes, share, say, interrupted)
    nodes = nodes_there()
    if len(nodes) < 2:
        return
    problems = examine(nodes, storage_of(study))
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise ClusterError(f"the cluster can't run the study:\n{listed}")
    say(f"{len(nodes)} nodes: versions agree, and each sees what the others write to {storage_of(study).uri}")


def storage_of(study: Study) -> RemoteFolder:
    """What all nodes share, as a URI."""
    place = study.folder.shared(study.folder.path)
    return RemoteFolder(place if "://" in place else Path(place).as_uri())


def examine(nodes: Sequence[Node], storage: RemoteFolder) -> list[str]:
    """What is wrong with these nodes, each as a sentence that names the node and the remedy."""
    try:
        answers, problems = _ask(nodes, _answer, storage)
        for node, answer in answers.items():
            if answer.unwritable:
                problems.append(f"{node.address}: storage: {answer.unwritable}; let every node write there")
            if node.has_gpu and not answer.sees_gpu:
                problems.append(f"{node.address}: PyTorch sees no GPU, and Ray has one; is the driver too old?")
        problems += different_versions({node.address: answer.versions for node, answer in answers.items()})
        writers = {node for node, answer in answers.items() if not answer.unwritable}
        seen, silent = _ask(list(answers), _files_in, storage)
        return problems + silent + not_shared(seen, writers, storage.uri)
    finally:
        for node in nodes:
            with contextlib.suppress(RemoteError):
                storage.remove(f"{FOLDER}/{node.id}")


def _ask(
    nodes: Sequence[Node], question: Callable[..., Any], storage: RemoteFolder
) -> tuple[dict[Node, Any], list[str]]:
    """Each node's answer, and what is to be said of those that gave none."""
    asked = {}
    for node in nodes:
        here = NodeAffinitySchedulingStrategy(node.id, soft=False)
        task = ray.remote(num_cpus=0, num_gpus=0.01 if node.has_gpu else 0, max_retries=0)(question)
        asked[task.options(scheduling_strategy=here).remote(storage, node.id)] = node
    ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_S)
    answers, problems = {}, []
    for ref, node in asked.items():
        if ref not in ready:
            problems.append(f"{node.address}: no answer within {ANSWER_S:.0f} s; is it overloaded, or cut off?")
            ray.cancel(ref, force=True)
            continue
        try:
            answers[node] = ray.get(ref)
        except Exception as error:  # a node may lack cnnbench itself, or die meanwhile
            last = str(error).strip().splitlines()[-1][:300]
            problems.append(
                f"{node.address}: it can't run cnnbench: {last}; set it up as the others, and `ray up` again"
            )
    return answers, problems


def _answer(storage: RemoteFolder, node_id: str) -> NodeAnswer:
    """Runs on a node: writes its file, and says what it has."""
    unwritable = ""
    try:
        storage.write(f"{FOLDER}/{node_id}", b"written\n")
    except RemoteError as error:
        unwritable = str(error)
    return NodeAnswer(own_versions(), unwritable, torch.cuda.is_available())


def _files_in(storage: RemoteFolder, node_id: str) -> list[str]:
    """Runs on a node: whose files it sees."""
    try:
        return storage.names(FOLDER)
    except RemoteError:
        return []


def own_versions() -> dict[str, str]:
    """Of this process: Python, each package, and the checksum of cnnbench's own source."""
    return {"Python": platform.python_version(), **machine.versions(), "cnnbench's source": source_checksum()}


@cache
def source_checksum() -> str:
    """Of all of cnnbench's Python files: nodes may have one version and not the same code."""
    root = Path(cnnbench.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def different_versions(versions: Mapping[str, Mapping[str, str]]) -> list[str]:
    """address → its versions; a sentence for each package that is not the same on all."""
    problems = []
    for package in dict.fromkeys(name for found in versions.values() for name in found):
        places: dict[str, list[str]] = {}
        for address, found in versions.items():
            places.setdefault(found.get(package, "missing"), []).append(address)
        if len(places) > 1:
            said = ", ".join(f"{version} on {' and '.join(where)}" for version, where in places.items())
            problems.append(f"{package}: {said}; install one version everywhere, and `ray up` again")
    return problems


def not_shared(seen: Mapping[Node, Sequence[str]], writers: set[Node], uri: str) -> list[str]:
    """seen: whose files each node sees; a sentence for each node that does not see another's."""
    problems = []
    for node, files in seen.items():
        missing = [other.address for other in writers if other.id not in files]
        if missing:
            problems.append(
                f"{node.address}: storage: it does not see what {', '.join(sorted(missing))} wrote to {uri}; "
                "give `storage` a folder that all nodes share, or `shared_storage` an s3:// address"
            )
    return problems
