"""``cnnbench reproduce`` under the faults that a whole study is put to: it ends, and goes on, as that does."""

import re
import signal
from pathlib import Path

import pytest

from cnnbench.ledger import Ledger
from disturbed import Place
from own_mounts import Mounts, own_mounts
from test_full_disk import SIZE, fill
from test_lost_hosts import SOONER, cluster  # noqa: F401 (a fixture)

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.ray]

BEGUN = "reproduction: 1 trials"


class Reproduction(Place):
    """Of the undisturbed study's only row: one training from the seed of its final, which stands still from its first
    step on while ``hold`` is there."""

    def __init__(self, folder: Path, of: Place, mounts: Mounts | None = None) -> None:
        super().__init__(folder, mounts=mounts)
        self.verb = ["reproduce", str(of.results), "paced", "--same-seeds", "--set", f"storage={folder / 'results'}"]
        self.way_on = re.compile(
            r"^stopped; everything finished is saved. To continue:\n  "
            rf"cnnbench reproduce {re.escape(str(of.results))} paced --same-seeds --set storage=\S+$", re.M,
        )  # fmt: skip
        self.hold.touch()

    def seeds(self) -> list[int]:
        """Those that are recorded."""
        ledgers = self.results.parent.glob("reproductions/*/paced/ledger.jsonl")
        return [record.seed for ledger in ledgers for record in Ledger(ledger).read().records]

    def ends(self) -> None:
        """The same command, undisturbed, reproduces the row."""
        self.hold.unlink(missing_ok=True)
        assert "reproduced: 1 of 1 equal to the bit" in self.run() and self.seeds() == [1000]


def test_sigterm_stops_a_reproduction_and_a_second_one_is_told_of_takeover_which_stops_the_first(tmp_path, undisturbed):
    place = Reproduction(tmp_path, undisturbed)
    with place.running() as first:
        first.wait_for(BEGUN)
        refusal = place.run(code=2)
        assert "it is running already, as process" in refusal and refusal.rstrip().endswith("continue with --takeover")
        place.verb.append("--takeover")
        with place.running() as second:
            second.wait_for(BEGUN)
            assert "taking the study over from process" in second.output
            second.process.send_signal(signal.SIGTERM)
            assert second.ended() == 130 and place.way_on.search(second.output), second.output
        place.verb.remove("--takeover")
        place.hold.unlink()
        assert first.ended() == 1, first.output
        assert re.search(r"the study's lock was .*; this process stops and writes nothing more", first.output)
        assert place.way_on.search(first.output) and "Traceback" not in first.output, first.output
    assert place.seeds() == []
    place.ends()


def test_a_lost_head_is_told(cluster, place, tmp_path, undisturbed):  # noqa: F811
    place = Reproduction(tmp_path, undisturbed)
    cluster.add_node(num_cpus=1)
    with place.running(f"resources.cluster={cluster.address}", patch=SOONER) as run:
        run.wait_for(BEGUN)
        cluster.remove_node(cluster.head_node, allow_graceful=False)
        assert run.ended() == 1, run.output
    assert re.search(r"^Ray's head at \S+ has not answered for 6 s: it is lost", run.output, re.M), run.output
    assert "The same command, on a cluster that runs, continues" in run.output and "Traceback" not in run.output
    cluster.shutdown()
    place.ends()


def test_a_full_disk_ends_a_reproduction_with_path_and_bytes(tmp_path, undisturbed):
    results = tmp_path / "results"
    results.mkdir()
    with own_mounts(f"mount -t tmpfs -o size={SIZE} none {results}") as mounts:
        place = Reproduction(tmp_path, undisturbed, mounts)
        filler = mounts.seen(results / "filler")
        with place.running() as run:
            run.wait_for(BEGUN)
            run.wait("a process that trains", run.training)
            fill(filler)
            place.hold.unlink()
            assert run.ended() == 1, run.output
        words = r"^\S+/ledger.jsonl: could not write \d+ bytes: No space left on device; make room there$"
        assert re.search(words, run.output, re.M) and place.way_on.search(run.output), run.output
        assert "Traceback" not in run.output and place.seeds() == []
        filler.unlink()
        place.ends()
