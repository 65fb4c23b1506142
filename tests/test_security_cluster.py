"""Ray's token, with real clusters: who has none is refused by a cluster that wants one, and cnnbench refuses a cluster
that wants none."""

import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnbench.ledger import Ledger
from cnnbench.training.checkpoints import CheckpointFile
from ray_heads import head

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

STUDY = """
study: tiny
data: {dataset: digits, image_size: 16}
architectures: [lenet5]
space: {lr: 0.1}
budget: {trials: 1, epochs: 1}
finals: {seeds: 1, few_seeds_reason: test}
precision: fp32
"""
STRANGER = """
import sys
from ray._raylet import GcsClient
print(GcsClient(address=sys.argv[1]).internal_kv_keys(b"", None))
"""
TOKEN = "0123456789abcdef" * 4


def home_of(folder: Path, token: str | None) -> Path:
    """A home with that token as Ray itself would write it, with mode 644."""
    folder.mkdir(parents=True)
    if token:
        (folder / ".ray").mkdir()
        (folder / ".ray" / "auth_token").write_text(token)
        (folder / ".ray" / "auth_token").chmod(0o644)
    return folder


def python(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_AUTH", "RAY_ADDRESS"))}
    return subprocess.run(
        [sys.executable, *arguments], cwd=home, env={**ours, "HOME": str(home), **environment}, text=True, timeout=600,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def run(address: str, home: Path, code: int, **environment: str) -> str:
    """What ``cnnbench run`` says on the cluster at ``address``."""
    (home / "tiny.yaml").write_text(STUDY)
    done = python(
        "-m", "cnnbench", "run", "tiny.yaml", "--set", f"resources.cluster={address}", home=home, **environment
    )
    assert done.returncode == code, done.stdout
    assert code == 0 or "Traceback" not in done.stdout
    return done.stdout


def secure(address: str, home: Path, **environment: str) -> str:
    """What cnnbench's first look at a cluster says."""
    code = f"from cnnbench.distributed.authentication import secure; secure({address!r}); print('secured')"
    return python("-c", code, home=home, **environment).stdout


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster that wants TOKEN."""
    home = home_of(tmp_path_factory.mktemp("guarded") / "home", TOKEN)
    with head(home, Path(os.environ["RAY_TMPDIR"]) / "guarded", RAY_AUTH_MODE="token") as address:
        yield address


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster that wants none."""
    home = home_of(tmp_path_factory.mktemp("unguarded") / "home", None)
    with head(home, Path(os.environ["RAY_TMPDIR"]) / "open", RAY_AUTH_MODE="disabled") as address:
        yield address


def test_a_cluster_with_a_token_refuses_a_client_without_it(guarded: str, unguarded: str, tmp_path: Path) -> None:
    home = home_of(tmp_path / "stranger", None)
    refused = python("-c", STRANGER, guarded, home=home, RAY_AUTH_MODE="disabled")
    assert refused.returncode != 0 and "InvalidAuthToken" in refused.stdout, refused.stdout
    let_in = python("-c", STRANGER, unguarded, home=home, RAY_AUTH_MODE="disabled")
    assert let_in.returncode == 0, let_in.stdout  # what is at stake without a token


def test_cnnbench_runs_no_study_on_a_cluster_that_strangers_can_use(unguarded: str, tmp_path: Path) -> None:
    having_one = run(unguarded, home_of(tmp_path / "with", TOKEN), code=2)
    assert "resources.cluster" in having_one and "asks for no token, and strangers can run code on it" in having_one
    without = secure(unguarded, home_of(tmp_path / "without", None))
    assert "no token here" in without and "ray get-auth-token" in without


def test_cnnbench_without_the_clusters_own_token_is_refused_with_a_remedy(guarded: str, tmp_path: Path) -> None:
    assert "no token here" in secure(guarded, home_of(tmp_path / "without", None))
    other = secure(guarded, home_of(tmp_path / "other", "f" * 64))
    assert "another token than" in other and "copy its ~/.ray/auth_token" in other


SECRETS = {"AWS_SECRET_ACCESS_KEY": "canary-of-aws-91c7", "MLFLOW_TRACKING_PASSWORD": "canary-of-mlflow-2b6e"}


class Exploit:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


@pytest.fixture(scope="module")
def studied(guarded: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The home in which a study was run on the guarded cluster, with SECRETS in its environment, and what it said.
    Before it began, a stranger had left checkpoints and a Tune state in its folder."""
    home = home_of(tmp_path_factory.mktemp("study") / "home", TOKEN)
    folder = home / "results" / "tiny"
    for name in ("lenet5-000", "lenet5-final-1000"):
        CheckpointFile(folder / "checkpoints" / f"{name}.ckpt").save({"network": Exploit(home / "marker")}, "any")
    for stage in ("search", "finals"):
        (folder / "tune" / stage).mkdir(parents=True)
        for name in ("experiment_state-2026-01-01_00-00-00.json", "tuner.pkl", "trainable.pkl", "searcher-state.pkl"):
            (folder / "tune" / stage / name).write_bytes(pickle.dumps(Exploit(home / "marker")))
    return home, run(guarded, home, code=0, **SECRETS)


def test_a_study_on_a_cluster_with_a_token_makes_the_tokens_file_private(studied: tuple[Path, str]) -> None:
    home, output = studied
    assert "Leaderboard:" in output and "its mode is 600 now" in output
    assert stat.S_IMODE((home / ".ray" / "auth_token").stat().st_mode) == 0o600


def test_poisoned_checkpoints_and_tune_state_run_no_code_in_a_study(studied: tuple[Path, str]) -> None:
    home, _ = studied
    records = Ledger(home / "results" / "tiny" / "ledger.jsonl").read().records
    assert {"lenet5-000", "lenet5-final-1000"} <= {record.trial_id for record in records}
    assert all(record.status == "completed" for record in records)
    assert not (home / "marker").exists()


def test_a_study_writes_no_secret_anywhere(studied: tuple[Path, str]) -> None:
    """Neither the token nor what the environment holds: not in the output, the ledger, MLflow's database, the report or
    any of Ray's logs."""
    home, output = studied
    ray = Path(os.environ["RAY_TMPDIR"]) / "guarded"
    files = [file for place in (home, ray) for file in place.rglob("*") if file.is_file()]
    names = {file.name for file in files}
    assert {"mlflow.db", "ledger.jsonl", "index.html", "raylet.out", "gcs_server.out", "study.json"} <= names
    canaries = [TOKEN.encode(), *(secret.encode() for secret in SECRETS.values())]
    told = [file for file in files if any(canary in file.read_bytes() for canary in canaries)]
    assert told == [home / ".ray" / "auth_token"]
    assert not any(canary.decode() in output for canary in canaries)


def test_a_ray_of_ones_own_is_not_started_without_a_token(tmp_path: Path) -> None:
    refused = secure("local", home_of(tmp_path / "home", None), RAY_AUTH_MODE="disabled")
    assert "RAY_AUTH_MODE turns the token off" in refused


def test_the_token_of_a_ray_of_ones_own_is_private_from_its_first_moment_and_is_kept(tmp_path: Path) -> None:
    home = home_of(tmp_path / "home", None)
    assert "secured" in secure("local", home)
    file = home / ".ray" / "auth_token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    token = file.read_text()
    assert len(token) == 64 and [entry.name for entry in file.parent.iterdir()] == ["auth_token"]
    assert "secured" in secure("local", home) and file.read_text() == token
