"""clusters/kuberay.yaml: a RayJob with the fields of KubeRay's API reference, for the same study files."""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FILE = ROOT / "clusters" / "kuberay.yaml"

# https://ray-project.github.io/kuberay/reference/api/, ray.io/v1
JOB = {"activeDeadlineSeconds", "backoffLimit", "clusterSelector", "submitterConfig", "managedBy", "deletionStrategy",
       "entrypoint", "runtimeEnvYAML", "jobId", "submissionMode", "entrypointResources", "entrypointNumCpus",
       "entrypointNumGpus", "ttlSecondsAfterFinished", "shutdownAfterJobFinishes", "suspend", "submitterPodTemplate",
       "metadata", "rayClusterSpec"}  # fmt: skip
CLUSTER = {"authOptions", "suspend", "managedBy", "autoscalerOptions", "headServiceAnnotations",
           "enableInTreeAutoscaling", "gcsFaultToleranceOptions", "headGroupSpec", "rayVersion", "workerGroupSpecs",
           "upgradeStrategy"}  # fmt: skip
HEAD = {"template", "headService", "enableIngress", "resources", "labels", "rayStartParams", "serviceType"}
WORKERS = {"suspend", "groupName", "replicas", "minReplicas", "maxReplicas", "idleTimeoutSeconds", "resources",
           "labels", "rayStartParams", "template", "scaleStrategy", "numOfHosts"}  # fmt: skip
AUTOSCALER = {"resources", "image", "imagePullPolicy", "securityContext", "idleTimeoutSeconds", "upscalingMode",
              "version", "env", "envFrom", "volumeMounts"}  # fmt: skip


@pytest.fixture
def job() -> dict[str, Any]:
    """The RayJob's spec."""
    (found,) = (part for part in yaml.safe_load_all(FILE.read_text()) if part["kind"] == "RayJob")
    assert found["apiVersion"] == "ray.io/v1"
    spec: dict[str, Any] = found["spec"]
    return spec


def test_every_field_is_one_of_kuberays(job: dict[str, Any]) -> None:
    cluster = job["rayClusterSpec"]
    assert set(job) <= JOB
    assert set(cluster) <= CLUSTER
    assert set(cluster["headGroupSpec"]) <= HEAD
    assert set(cluster["autoscalerOptions"]) <= AUTOSCALER
    for group in cluster["workerGroupSpecs"]:
        assert set(group) <= WORKERS and group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_start_parameters_are_texts_as_kuberay_demands(job: dict[str, Any]) -> None:
    cluster = job["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_it_is_closed_to_strangers_and_pinned(job: dict[str, Any]) -> None:
    cluster = job["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert cluster["rayVersion"] == pins["ray"]
    assert "-c constraints.txt" in (ROOT / "clusters" / "Dockerfile").read_text()


def test_every_pod_sees_the_shared_volume_and_the_study_where_the_command_looks_for_them(job: dict[str, Any]) -> None:
    cluster = job["rayClusterSpec"]
    assert "--set storage=/shared/results" in job["entrypoint"] and "run /study/study.yaml" in job["entrypoint"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert mounts == {"/shared": "shared", "/study": "study"}
        assert {volume["name"] for volume in pod["volumes"]} == {"shared", "study"}


def test_the_head_takes_no_trials_and_each_worker_has_a_gpu(job: dict[str, Any]) -> None:
    cluster = job["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in cluster["workerGroupSpecs"]:
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
