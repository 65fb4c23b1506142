"""A Ray cluster on the test hosts, launched as a user does: `ray up`, `ray submit` and `ray down` on the laptop, with a
file that is clusters/on_prem.yaml but for addresses and what would take an internet."""

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from cnnbench.ledger import Ledger, TrialRecord
from hosts import KEY, NETWORK, ROOT, SHARED, Host, Lab, wait_until

ON_PREM = ROOT / "clusters" / "on_prem.yaml"
FILE = f"{SHARED}/cluster.yaml"
TRAINING = ("ray::ImplicitFunc.train", "ray::RayTrainWorker")  # Ray's names of a process that trains, alone or by DDP

# What a user types first on a laptop. Ray's second autoscaler starts one worker too few with provider `local`.
SETTINGS = "RAY_UP_enable_autoscaler_v2=0 RAY_USAGE_STATS_ENABLED=0"
LOGIN = f"cd {ROOT}; export PATH={Path(sys.prefix) / 'bin'}:$PATH {SETTINGS}; "

COUNT_RUNS = """
import json, sys, urllib.request

def post(verb, **content):
    url = f"http://127.0.0.1:5000/api/2.0/mlflow/{verb}"
    request = urllib.request.Request(url, json.dumps(content).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=30))

found = post("experiments/search", max_results=10, filter=f"name = '{sys.argv[1]}'")["experiments"]
print(len(post("runs/search", experiment_ids=[found[0]["experiment_id"]], max_results=1000)["runs"]))
"""


def launcher_file(workers: int) -> dict[str, Any]:
    """clusters/on_prem.yaml, filled in. The hosts have no internet: they find the environment where pip would have put
    it, and the package comes by file_mounts."""
    config: dict[str, Any] = yaml.safe_load(ON_PREM.read_text())
    addresses = [f"{NETWORK}.{2 + number}" for number in range(workers + 1)]
    config["provider"] |= {"head_ip": addresses[0], "worker_ips": addresses[1:]}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": KEY}
    config["max_workers"] = workers
    commands = [line for line in config["setup_commands"] if "pip install" not in line]
    assert len(commands) == len(config["setup_commands"]) - 1
    found = "'export PYTHONPATH=$HOME/cnnbench-source/platform' > ~/.cnnbench.sh"
    commands = [line.replace("> ~/.cnnbench.sh", found) for line in commands]
    config["setup_commands"] = [f"test -e ~/venv || ln -s {sys.prefix} ~/venv", *commands]
    small = "--object-store-memory=200000000"
    for key, more in (("head_start_ray_commands", small), ("worker_start_ray_commands", f"{small} --num-cpus=1")):
        config[key] = [f"{line} {more}" if "ray start" in line else line for line in config[key]]
    return config


class Cluster:
    """Hosts ``head``, ``one`` and ``two`` as a Ray cluster, and the ``laptop``."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.laptop = lab.hosts["laptop"]
        self.workers = [lab.hosts["one"], lab.hosts["two"]]

    @contextmanager
    def up(self) -> Iterator["Cluster"]:
        """From `ray up` to `ray down`. Ray's logs are kept among the lab's."""
        (self.lab.shared / "cluster.yaml").write_text(yaml.safe_dump(launcher_file(len(self.workers)), sort_keys=False))
        self.on_laptop("ray get-auth-token --generate && chmod 600 ~/.ray/auth_token")
        self.on_laptop(f"ray up -y {FILE}")
        try:
            yield self
        finally:
            for host in (self.lab.hosts["head"], *self.workers):
                kept = f"{SHARED}/logs/{host.name}"
                host.run(f"mkdir -p {kept} && cp -r /tmp/ray/session_latest/logs/. {kept}/")
            shutil.copytree(self.lab.shared / "logs", self.lab.logs / "ray", dirs_exist_ok=True)
            self.on_laptop(f"ray down -y {FILE}")

    def on_laptop(self, command: str, timeout_s: float = 600.0) -> str:
        """Its output. Raises AssertionError with that if the command fails."""
        code, output = self._run(command, timeout_s)
        assert code == 0, output[-4000:]
        return output

    def refused(self, command: str, timeout_s: float = 600.0) -> str:
        """The output of a command that must fail, on one line: a terminal wraps it."""
        code, output = self._run(command, timeout_s)
        assert code != 0, output[-4000:]
        return " ".join(output.split())

    def runs_in_mlflow(self, experiment: str) -> int:
        """Asked from the laptop, through the tunnel that `ray attach -p` makes."""
        with (self.lab.logs / "tunnel.log").open("wb") as log:
            tunnel = self.laptop.start(f"{LOGIN} ray exec {FILE} 'sleep 300' -p 5000", log)
            try:
                ask = f"{sys.executable} -c {shlex.quote(COUNT_RUNS)} {experiment}"
                wait_until("MLflow's answer", lambda: self.laptop.run(ask).returncode == 0, 200, self.lab.say)
                return int(self.laptop.run(ask).stdout)
            finally:
                tunnel.kill()
                tunnel.wait()

    def _run(self, command: str, timeout_s: float) -> tuple[int, str]:
        self.lab.say(f"laptop$ {command}")
        begun = time.monotonic()
        done = self.laptop.run(LOGIN + command, timeout_s)
        with (self.lab.logs / "commands.log").open("a") as log:
            log.write(f"$ {command}\n{done.stdout}\n")
        self.lab.say(f"  exit code {done.returncode} after {time.monotonic() - begun:.0f} s")
        return done.returncode, done.stdout

    @contextmanager
    def submitted(self, arguments: str) -> Iterator["Submitted"]:
        """`ray submit` of cnnbench, running on while the test does other things."""
        log = self.lab.logs / "submit.log"
        command = submit(arguments)
        self.lab.say(f"laptop$ {command} &")
        with log.open("wb") as file:
            process = self.laptop.start(LOGIN + command, file)
            try:
                yield Submitted(process, log)
            finally:
                process.kill()
                process.wait()

    def training_on(self, host: Host) -> list[int]:
        """Processes that train on a host."""
        return [process for name in TRAINING for process in host.processes(name)]


def submit(arguments: str) -> str:
    return f"ray submit {FILE} platform/cnnbench/__main__.py {arguments}"


class Submitted:
    """A running `ray submit`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def ended(self) -> bool:
        return self.process.poll() is not None


def records(folder: Path) -> tuple[TrialRecord, ...]:
    """Of the study in ``folder``."""
    return Ledger(folder / "ledger.jsonl").read().records


def outcome(found: tuple[TrialRecord, ...]) -> dict[str, Any]:
    """What no fault may change: each trial's configuration, curve and scores."""
    assert len({record.trial_id for record in found}) == len(found), "a trial was recorded twice"
    return {
        record.trial_id: (
            record.status, record.seed, dict(record.hyperparameters), dict(record.components), record.score,
            record.stop_epoch, record.test,
            [(point.epoch, point.train_loss, point.val_loss, point.val_accuracy) for point in record.epochs],
        )
        for record in found
    }  # fmt: skip
