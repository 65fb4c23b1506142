"""cluster.yaml and its variants: that Ray's launcher takes them, and that their commands do what they say. What is
looked for in any such file stands in test_cluster_check.py."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FILE = ROOT / "cluster.yaml"
FILES = [FILE, ROOT / "clusters" / "on_prem.yaml"]


@pytest.fixture
def cluster() -> dict[str, Any]:
    """cluster.yaml as written."""
    config: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return config


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_ray_accepts_it(file: Path) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    with_defaults = prepare_config(yaml.safe_load(file.read_text()))
    validate_config(with_defaults)  # against ray/autoscaler/ray-schema.json, and more
    if file == FILE:
        assert with_defaults["available_node_types"]["head"]["max_workers"] == 0


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
