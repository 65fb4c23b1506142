"""An MLflow that several people share, set up as SECURITY.md says: accounts, and nobody sees another's study."""

import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.server import get_app_client

from cnnbench.tracking.tracker import Shipped, Tracker
from mlflow_servers import serving
from ray_heads import free_port
from tracked_study import play

pytestmark = pytest.mark.timeout(900)

ADMIN, ALICE, BOB = (("admin", "an-admins-password"), ("alice", "alices-password"), ("bob", "bobs-password-too"))
PATIENT_S = 240.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """SECURITY.md's server, with sqlite in place of Postgres."""
    folder = tmp_path_factory.mktemp("mlflow")
    (folder / "auth.ini").write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\nadmin_username = admin\n"
        f"database_uri = sqlite:///{folder}/accounts.db\n"
    )
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--host", "127.0.0.1"),
        *("--port", str(port), "--workers", "1", "--allowed-hosts", f"localhost:{port},127.0.0.1:{port}"),
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts"),
    ]
    environment = {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"), "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "0123456789abcdef" * 4,
    }  # fmt: skip
    with serving(command, port, folder, **environment) as address:
        yield address


def log_in(account: tuple[str, str], environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MLFLOW_TRACKING_USERNAME", account[0])
    environment.setenv("MLFLOW_TRACKING_PASSWORD", account[1])


def test_a_study_in_a_shared_mlflow_is_its_owners_alone(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    log_in(ADMIN, monkeypatch)
    accounts = get_app_client("basic-auth", server)
    for account in (ALICE, BOB):
        accounts.create_user(*account)

    log_in(ALICE, monkeypatch)
    tracker = Tracker(server, "digits", tmp_path / "results" / "digits", parent_params={"trials": 1})
    play(tracker)
    assert tracker.close(PATIENT_S) == Shipped(synced=4, spooled=0)
    client = MlflowClient(tracking_uri=server)
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 2

    log_in(BOB, monkeypatch)
    with pytest.raises(MlflowException, match=r"403|Permission denied"):
        client.get_experiment(experiment.experiment_id)
    assert client.search_runs([experiment.experiment_id]) == []
    assert "digits" not in {each.name for each in client.search_experiments()}

    log_in(("alice", "a-wrong-password"), monkeypatch)
    with pytest.raises(MlflowException, match=r"401|not authenticated"):
        client.search_experiments()


@pytest.mark.parametrize(("headers", "code"), [({}, 401), ({"Host": "evil.test"}, 403)], ids=["nobody", "evil host"])
def test_a_shared_mlflow_answers_neither_nobody_nor_another_hosts_name(
    server: str, headers: dict[str, str], code: int
) -> None:
    request = urllib.request.Request(f"{server}/api/2.0/mlflow/experiments/search?max_results=5", headers=headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    assert refused.value.code == code
