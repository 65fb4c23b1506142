"""Trials that fail each in its own way, all in one study: what is run again, what is not, and what stands in the ledger
and in the leaderboard of it."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnbench.ledger import TrialRecord
from disturbed import Place
from faulty_networks import DIES, FITS, RAISES, TOO_LARGE
from own_mounts import own_mounts

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.ray]

# With this seed, five random trials have the five kinds of trials.
STUDY = f"""
study: failing
data: {{dataset: digits, image_size: 16, train_limit: 300, test_limit: 100}}
architectures: [{{name: "faulty_networks:failing", label: failing}}]
space:
  optimizer:
    choice:
      sgd: {{lr: 100.0, batch_size: {FITS}}}
      adamw: {{lr: 0.003, batch_size: {{choice: [{FITS}, {RAISES}, {DIES}, {TOO_LARGE}]}}}}
  schedule: constant
budget: {{trials: 5, epochs: 4}}
search: {{sampler: random, pruner: none, seed: 156, warm_start: false}}
finals: {{seeds: 1, few_seeds_reason: faults are tested and not the networks}}
precision: fp32
checkpoint_every_s: 0
resources: {{concurrent_trials: 1, cluster: local}}
"""
GIB = 1024**2  # in the kB of /proc/meminfo


class Memory:
    """The host's memory, as Ray's memory monitor reads it: a file in place of /proc/meminfo."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._real = Path("/proc/meminfo").read_text()
        self.free(8 * GIB)

    def free(self, kilobytes: int) -> None:
        text = re.sub(r"(?m)^(MemTotal|MemAvailable|MemFree):.*\n", "", self._real)
        figures = {"MemTotal": 16 * GIB, "MemFree": kilobytes, "MemAvailable": kilobytes}
        text = "".join(f"{name}: {value:15} kB\n" for name, value in figures.items()) + text
        with open(self._file, "r+" if self._file.exists() else "w") as file:  # the same file, since it is mounted
            file.write(text)
            file.truncate()


class Failed:
    """The study, run to its end."""

    def __init__(self, folder: Path) -> None:
        file = folder / "meminfo"
        memory = Memory(file)
        hidden = "mount -t tmpfs none /sys/fs/cgroup"  # where a container's own limit stands
        with own_mounts(f"{hidden}\nmount --bind {file} /proc/meminfo") as mounts:
            self.place = Place(folder, STUDY, "failing", mounts)
            with self.place.running() as run:
                with run.held(self.trial(FITS), 2):
                    memory.free(GIB // 8)
                    run.wait_for("Ray's memory monitor")
                    memory.free(8 * GIB)
                assert run.ended() == 0, run.output
                self.output = run.output
            self.records = {record.trial_id: record for record in self.place.records()}

    def trial(self, batch_size: int) -> str:
        """The one of that batch size with a learning rate that can train."""
        return f"failing-{ {RAISES: 0, TOO_LARGE: 2, DIES: 3, FITS: 4}[batch_size]:03d}"

    def record(self, batch_size: int) -> TrialRecord:
        record = self.records[self.trial(batch_size)]
        assert (record.hyperparameters["batch_size"], record.hyperparameters["lr"]) == (batch_size, 0.003)
        return record

    def said(self, record: TrialRecord) -> bool:
        """Whether the user was told that it failed, and why."""
        return f"{record.trial_id} {record.status} ({record.reason})" in self.output


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Failed]:
    return Failed(tmp_path_factory.mktemp("failing"))


def test_a_loss_that_is_not_finite_is_diverged_and_not_run_again(failed, tell):
    (record,) = (record for record in failed.records.values() if record.status == "diverged")
    assert record.hyperparameters["lr"] == 100.0
    assert re.fullmatch(r"diverged at step \d+ \(epoch \d\)", record.reason)
    assert record.budget.retries == 0 and record.retried == () and failed.said(record)
    tell(
        "NaN",
        done="a trial with a learning rate of 100",
        saw="“TRIAL diverged (diverged at step S (epoch E))”; in the ledger, out of the ranking, no retry",
        kept=1,
        redone=0,
    )


def test_out_of_memory_is_a_category_of_its_own_suggests_a_smaller_batch_and_is_not_run_again(failed, tell):
    record = failed.record(TOO_LARGE)
    assert record.status == "out-of-memory" and record.budget.retries == 0 and failed.said(record)
    assert record.reason.startswith("OutOfMemoryError: CUDA out of memory")
    assert record.reason.endswith("; try a smaller batch_size, or fewer trials a device")
    tell(
        "out of memory",
        done="a trial raises `torch.OutOfMemoryError`",
        saw="“TRIAL out-of-memory (OutOfMemoryError: …; try a smaller batch_size, or fewer trials a device)”; no retry",
        kept=2,
        redone=0,
    )


def test_an_error_of_its_own_is_failed_and_not_run_again(failed, tell):
    record = failed.record(RAISES)
    assert (record.status, record.budget.retries) == ("failed", 0) and failed.said(record)
    assert record.reason == "ValueError: a fault of the network's own"
    tell(
        "a fault of the network's own",
        done="a trial raises `ValueError`",
        saw="“TRIAL failed (ValueError: …)”; no retry",
        kept=0,
        redone=0,
    )


def test_a_process_that_dies_each_time_is_run_again_twice_and_then_given_up(failed, tell):
    record = failed.record(DIES)
    assert record.status == "failed" and record.budget.retries == 2 and failed.said(record)
    assert record.reason.startswith("gave up after 2 retries: its process died")
    assert [re.search(r"retry \d/2 from epoch \d", why)[0] for why in record.retried] == [
        "retry 1/2 from epoch 1",
        "retry 2/2 from epoch 1",
    ]
    for why in record.retried:
        assert f"{record.trial_id}: {why}" in failed.output
    tell(
        "worker SIGKILL, each time",
        done="a trial whose process is killed in its first step, whenever it is run",
        saw="“TRIAL: its process died; retry 1/2 from epoch 1”, “… retry 2/2 …”, “TRIAL failed (gave up after 2 "
        "retries: …)”; each retry in the ledger",
        kept=3,
        redone=1,
    )


def test_a_process_that_the_memory_monitor_ended_is_run_again_from_its_checkpoint(failed, tell):
    record = failed.record(FITS)
    assert record.status == "completed" and record.budget.retries >= 1
    reason = "Ray's memory monitor ended its process, because its host was running out of memory; retry 1/2 from epoch "
    assert re.fullmatch(re.escape(reason) + r"[23]", record.retried[0]), record.retried
    assert f"{record.trial_id}: {record.retried[0]}" in failed.output
    assert [point.epoch for point in record.epochs] == [1, 2, 3, 4]
    tell(
        "Ray's memory monitor",
        done="`/proc/meminfo` says that hardly any memory is left, until the monitor has killed a trial's process",
        saw=f"“TRIAL: {reason}K”; the study goes on",
        kept=4,
        redone=1,
    )


def test_what_failed_counts_in_the_leaderboard_and_ranks_nowhere(failed):
    lines = (failed.place.folder / "reports" / "failing" / "leaderboard.csv").read_text().splitlines()
    (row,) = (row for row in csv.DictReader(lines) if row["architecture"] == "failing")
    assert (row["trials_completed"], row["trials_failed"]) == ("1", "4")
    final = failed.records["failing-final-1000"]
    assert final.status == "completed" and final.hyperparameters["batch_size"] == FITS
    assert "Traceback" not in failed.output, failed.output
