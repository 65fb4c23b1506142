"""cluster.yaml: what Ray's launcher takes, what its schema lets pass and should not, and that its commands do it."""

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FILE = ROOT / "cluster.yaml"
TOKEN = "~/.ray/auth_token"


@pytest.fixture
def cluster() -> dict[str, Any]:
    """cluster.yaml as written."""
    config: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return config


def faults(config: dict[str, Any]) -> list[str]:
    """What is unsafe, dear or unrepeatable in a launcher file that Ray's own schema accepts."""
    found = []
    starts = [line for key in ("head", "worker") for line in config[f"{key}_start_ray_commands"] if "ray start" in line]
    if len(starts) != 2 or any("RAY_AUTH_MODE=token ray start" not in line for line in starts):
        found.append("each node must start with RAY_AUTH_MODE=token")
    if any("unset OMP_NUM_THREADS" not in line for line in starts):
        found.append("the launcher's OMP_NUM_THREADS=1 must not reach Ray's workers")
    if TOKEN not in config["file_mounts"] or not any("chmod 600 " + TOKEN in line for line in config["setup_commands"]):
        found.append("the token must be on each node, readable by its owner alone")
    everything = yaml.safe_dump(config)
    if "--dashboard-host=127.0.0.1" not in everything or "0.0.0.0" in everything:
        found.append("the dashboard must be on the loopback alone, and nothing open to every address")
    if not any("-c ~/cnnbench-source/constraints.txt" in line for line in config["setup_commands"]):
        found.append("packages must be pinned by constraints.txt")
    head = config["available_node_types"][config["head_node_type"]]
    if head["resources"] != {"CPU": 0} or "InstanceMarketOptions" in head["node_config"]:
        found.append("the head must run no trials, and not on spot")
    for name, node in config["available_node_types"].items():
        wanted = {"ImageId", "SecurityGroupIds", "IamInstanceProfile"}
        if missing := wanted - node["node_config"].keys():
            found.append(f"{name}: Ray's own defaults are unsafe or unpinned for {sorted(missing)}")
        if node["node_config"].get("MetadataOptions", {}).get("HttpTokens") != "required":
            found.append(f"{name}: IMDSv2 must be required")
        if node is not head and not (node["min_workers"] == 0 and "max_workers" in node):
            found.append(f"{name}: min_workers must be 0 and max_workers given")
    if "max_workers" not in config:
        found.append("max_workers must be given")
    return found


def test_ray_accepts_it(cluster: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    with_defaults = prepare_config(copy.deepcopy(cluster))
    validate_config(with_defaults)  # against ray/autoscaler/ray-schema.json, and more
    assert with_defaults["available_node_types"]["head"]["max_workers"] == 0


def test_the_schema_of_ray_accepts_it_and_refuses_an_unknown_key(cluster: dict[str, Any]) -> None:
    import jsonschema
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(cluster, schema)
    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        jsonschema.validate({**cluster, "max_worker": 3}, schema)


def test_it_has_no_fault(cluster: dict[str, Any]) -> None:
    assert faults(cluster) == []


def _without_token(config: dict[str, Any]) -> None:
    del config["file_mounts"][TOKEN]


def _open_dashboard(config: dict[str, Any]) -> None:
    config["head_start_ray_commands"][1] += " --dashboard-host=0.0.0.0"


def _unprotected_worker(config: dict[str, Any]) -> None:
    config["worker_start_ray_commands"] = ["ray stop", "unset OMP_NUM_THREADS; ray start --address=$RAY_HEAD_IP:6379"]


def _group_by_ray(config: dict[str, Any]) -> None:
    del config["available_node_types"]["gpu_spot"]["node_config"]["SecurityGroupIds"]


def _first_metadata_service(config: dict[str, Any]) -> None:
    config["available_node_types"]["head"]["node_config"]["MetadataOptions"]["HttpTokens"] = "optional"


def _spot_head(config: dict[str, Any]) -> None:
    config["available_node_types"]["head"]["node_config"]["InstanceMarketOptions"] = {"MarketType": "spot"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_without_token, "the token must be"),
        (_open_dashboard, "the dashboard must be"),
        (_unprotected_worker, "RAY_AUTH_MODE=token"),
        (_group_by_ray, "gpu_spot: Ray's own defaults"),
        (_first_metadata_service, "head: IMDSv2"),
        (_spot_head, "the head must"),
    ],
)
def test_a_fault_that_ray_lets_pass_is_found(
    cluster: dict[str, Any], change: Callable[[dict[str, Any]], None], says: str
) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    change(cluster)
    validate_config(prepare_config(copy.deepcopy(cluster)))
    assert [fault for fault in faults(cluster) if says in fault]


def test_the_pools_train_on_one_type_of_machine(cluster: dict[str, Any]) -> None:
    spot, on_demand = (cluster["available_node_types"][name]["node_config"] for name in ("gpu_spot", "gpu_on_demand"))
    assert spot == {**on_demand, "InstanceMarketOptions": {"MarketType": "spot"}}


def test_versions_are_those_of_constraints_txt(cluster: dict[str, Any]) -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert any(f'ray.__version__ == "{pins["ray"]}"' in line for line in cluster["setup_commands"])
    assert f"ray {pins['ray']}" in FILE.read_text()


def test_what_is_mounted_is_there(cluster: dict[str, Any]) -> None:
    mounted = [local for local in cluster["file_mounts"].values() if not local.startswith("~")]
    assert [local for local in mounted if not (ROOT / local).exists()] == []


def test_the_shell_set_up_can_run_twice_and_leads_to_the_environments_python(
    cluster: dict[str, Any], tmp_path: Path
) -> None:
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("secret")
    token.chmod(0o644)
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "the right python, RAY_AUTH_MODE=$RAY_AUTH_MODE"\n')
    python.chmod(0o755)

    commands = [line for line in cluster["setup_commands"] if "auth_token" in line or ".cnnbench.sh" in line]
    assert len(commands) == 3
    for command in commands * 2:
        subprocess.run(["bash", "-c", command], env=environment, check=True)

    assert token.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / ".bashrc").read_text().count(".cnnbench.sh") == 1
    # the launcher's way to run a command, as ray/autoscaler/_private/command_runner.py has it
    as_launched = ["bash", "--login", "-c", "-i", "source ~/.bashrc; python ~/__main__.py"]
    ran = subprocess.run(as_launched, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert ran.stdout.strip() == "the right python, RAY_AUTH_MODE=token"


def test_the_submitted_script_runs_from_a_home_like_the_heads(cluster: dict[str, Any], tmp_path: Path) -> None:
    """`ray submit` puts the script at ~/__main__.py and runs it with the home as its folder."""
    for remote, local in cluster["file_mounts"].items():
        if (ROOT / local).is_dir():
            shutil.copytree(ROOT / local, tmp_path / remote.removeprefix("~/"))
    shutil.copy(ROOT / "platform/cnnbench/__main__.py", tmp_path / "__main__.py")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "cnnbench-source" / "platform"), "HOME": str(tmp_path)}
    command = [sys.executable, "__main__.py", "run", "search_spaces/cifar10.yaml", "--help"]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
