"""A cluster that loses a host, and then its head. The hosts are Ray nodes on this machine; `make test-cluster` takes
the power and the cable from hosts of their own."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray.cluster_utils import Cluster

from cnnbench.distributed import authentication
from disturbed import ALL, HERE, Place
from faulty_networks import HOLD
from ray_heads import processes_of

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.ray]

# So that the loss of a node is noticed in seconds.
HEALTH = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 1000, "health_check_failure_threshold": 4}
# So are these, which are half a minute and a minute.
SOONER = "from cnnbench.distributed import head_watch, tune; head_watch.PATIENCE_S, tune.QUIET_S = 6.0, 3.0"


@pytest.fixture
def cluster(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head without CPUs. Its processes inherit where the networks are, and what holds them."""
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.setenv(HOLD, str(place.hold))
    authentication.secure("local")
    maybe_enable_token_auth_if_token_available()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": HEALTH})
    session = Path(cluster.head_node.get_session_dir_path())
    try:
        yield cluster
    finally:
        cluster.shutdown()
        for process in processes_of(session):  # agents of the nodes that were killed
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def test_a_lost_host_is_waited_for_and_a_lost_head_ends_the_study_which_goes_on_elsewhere(
    cluster, place, undisturbed, moments, tell
):
    first, second = place.ahead(2)
    node = cluster.add_node(num_cpus=1)
    with place.running(f"resources.cluster={cluster.address}", patch=SOONER) as run:
        with run.held(first, moments.randint(2, 8)):
            cluster.remove_node(node, allow_graceful=False)
            run.wait_for("retry 1/2 from epoch")
        run.wait_for("waiting for resources: 1 CPUs are wanted, 0 of 0 are free")
        cluster.add_node(num_cpus=1)
        with run.held(second, moments.randint(2, 8)):
            cluster.remove_node(cluster.head_node, allow_graceful=False)
            assert run.ended() == 1, run.output
    output = run.output
    assert re.search(rf"^{first}: its host was lost, or can't be reached; retry 1/2 from epoch \d+$", output, re.M), (
        output
    )
    (record,) = place.records()
    assert (record.trial_id, record.budget.retries) == (first, 1)
    assert re.search(r"^Ray's head at \S+ has not answered for 6 s: it is lost, and the cluster with it$", output, re.M)
    remedy = "stopped; everything finished is saved. The same command, on a cluster that runs, continues the study"
    assert remedy in output and "Traceback" not in output, output
    assert place.cut_off() == [second]
    cluster.shutdown()

    again = place.run()
    assert re.search(rf"^1 finished trial kept, 1 cut off and run again: {second} from epoch \d+$", again, re.M), again
    assert place.outcome() == undisturbed.outcome() and len(place.records()) == ALL
    tell(
        "host lost",
        done="the Ray node of a trial is killed, and another one comes; `make test-cluster` cuts power and cable",
        saw="“TRIAL: its host was lost, or can't be reached; retry 1/2 from epoch K”, “waiting for "
        "resources: 1 CPUs are wanted, 0 of 0 are free”; then it goes on, on the new node",
        kept=0,
        redone=1,
    )
    tell(
        "head lost",
        done="the head's processes are killed; then the same command without that cluster",
        saw=f"“Ray's head at ADDRESS has not answered for S s: it is lost, and the cluster with it”, “{remedy}”; exit "
        "code 1",
        kept=1,
        redone=1,
    )
