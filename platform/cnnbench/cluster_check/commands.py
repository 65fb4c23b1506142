"""What the nodes run: starting Ray, and what may listen where."""

import re
from collections.abc import Iterator

from cnnbench.cluster_check.launcher_file import Document, Finding, Place

START = {"head": "head_start_ray_commands", "worker": "worker_start_ray_commands"}
ALL = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands", *START.values())
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
OPTION = r"--{name}[= ]\s*(['\"]?)(?P<value>[^\s'\"]+)\1"


def option(command: str, name: str) -> str | None:
    """The last value that a command gives to ``--name``."""
    found = [match["value"] for match in re.finditer(OPTION.format(name=name), command)]
    return found[-1] if found else None


def start_commands(document: Document) -> Iterator[Finding]:
    """Each kind of node starts Ray with the token, and the worker finds the head."""
    port = "6379"
    for kind, field in START.items():
        if document.get(field) is None:
            problem = "missing: Ray's own start without a token, on AWS with a dashboard open to every network"
            yield document.finding((field,), problem, "write it as the example files do")
            continue
        starts = [(place, line) for place, line in document.commands(field) if re.search(r"\bray\s+start\b", line)]
        if not starts:
            yield document.finding((field,), "no `ray start`", "write it as the example files do")
        for place, line in starts:
            yield from _start(document, place, line)
            if kind == "head":
                port = option(line, "port") or port
                yield from _head(document, place, line)
            elif f"$RAY_HEAD_IP:{port}" not in line:
                remedy = f"write --address=$RAY_HEAD_IP:{port}"
                yield document.finding(place, f"the head listens on port {port}, and this does not lead there", remedy)


def _start(document: Document, place: Place, line: str) -> Iterator[Finding]:
    before = line[: re.search(r"\bray\s+start\b", line).start()]  # type: ignore[union-attr]
    if "RAY_AUTH_MODE=token" not in before:
        problem = "starts without a token: whoever reaches a port of Ray's runs commands on it (CVE-2023-48022)"
        yield document.finding(place, problem, "write RAY_AUTH_MODE=token before ray start")
    if "unset OMP_NUM_THREADS" not in before:
        problem = "Ray's launcher sets OMP_NUM_THREADS=1, and each trial would compute with one thread"
        yield document.finding(place, problem, "write `unset OMP_NUM_THREADS;` before ray start")


def _head(document: Document, place: Place, line: str) -> Iterator[Finding]:
    if option(line, "autoscaling-config") is None:
        remedy = "add --autoscaling-config=~/ray_bootstrap_config.yaml"
        yield document.finding(place, "the head would never start a worker", remedy)


def open_hosts(document: Document) -> Iterator[Finding]:
    """Servers that listen for other networks: the dashboard, MLflow, Ray's client server."""
    for place, line in document.commands(*ALL):
        for name in ("dashboard-host", "host", "ray-client-server-host"):
            value = option(line, name)
            if value is not None and value not in LOOPBACK:
                remedy = f"write --{name}=127.0.0.1, and reach it through an SSH tunnel (ray attach -p, ray dashboard)"
                yield document.finding(place, f"--{name}={value} listens for other machines", remedy)


def import_check(document: Document) -> Iterator[Finding]:
    """The set-up's last word: everything can be imported, or the node is not used."""
    setups = list(document.commands("setup_commands"))
    if not setups or not re.search(r"\bimport\b.*\bcnnbench\b", setups[-1][1]):
        place = setups[-1][0] if setups else ("setup_commands",)
        problem = "the set-up does not end in a check that cnnbench can be imported"
        remedy = """end with: ~/venv/bin/python -c 'import cnnbench, torch, ray; assert ray.__version__ == "…"'"""
        yield document.finding(place, problem, remedy)
