"""What the bridge to Tune does with trials: time limits, retries, pruning, and reports that come twice."""

import dataclasses
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from cnnbench.distributed.tune import MAX_RETRIES, MEMORY_KILL, QUIET_S, _Table, _why
from cnnbench.networks.spec import NetworkSpec
from cnnbench.training.checkpoints import CheckpointFile
from cnnbench.trial.spec import Progress, TrialSpec, content, payload


class Stage:
    """Three trials; one whose accuracy is below 0.2 at its second epoch is pruned."""

    name = "stage"

    def __init__(self) -> None:
        self.left = [spec(number) for number in range(3)]
        self.ended: list[tuple[str, str, int]] = []
        self.epochs: list[int] = []

    def ask(self) -> TrialSpec | None:
        return self.left.pop(0) if self.left else None

    def started(self, progress: Progress) -> None: ...
    def retried(self, progress: Progress, reason: str) -> None: ...
    def note(self, progress: Progress, text: str) -> None: ...

    def report(self, progress: Progress, point: Mapping[str, Any]) -> str | None:
        self.epochs.append(point["epoch"])
        return "by its rung" if point["epoch"] == 2 and point["val_accuracy"] < 0.2 else None

    def finish(self, progress: Progress, status: str, reason: str, end: Mapping[str, Any]) -> None:
        self.ended.append((progress.spec.trial_id, status, progress.retries))


def spec(number: int) -> TrialSpec:
    return TrialSpec(
        trial_id=f"t{number}", stage="search", scores_on="validation", index=number, row="a",
        network=NetworkSpec("a", classes=2, channels=1, image_size=8), left_out=("dropout",),
        hyperparameters={"lr": 0.1}, seed=0, epochs=3, stop_epoch=None, precision="fp32", channels_last=False,
        checkpoint="no/such.ckpt", checkpoint_every_s=0, workers=1, cpus=1, gpus=0,
    )  # fmt: skip


def epoch(number: int, accuracy: float = 0.5) -> dict[str, Any]:
    said = content(payload("epoch", point={"epoch": number, "val_accuracy": accuracy, "seconds": 1.0}, images=number))
    assert said is not None
    return said


END = content(payload("end", status="completed", reason=""))


def test_a_spec_survives_the_way_to_a_trial_unchanged():
    assert TrialSpec.from_config(spec(1).as_config()) == spec(1)


def test_a_time_limit_ends_the_asking_and_lets_running_trials_finish():
    stage = Stage()
    table = _Table(stage, 0.0, threading.Event())
    assert table.ask("x") is None and not stage.ended
    table = _Table(stage, 1000.0, threading.Event())
    assert table.ask("x") == spec(0)
    table._deadline = 0.0
    assert table.ask("y") is None
    table.report("x", END)
    assert stage.ended == [("t0", "completed", 0)]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("1 worker(s) were killed due to the node running low on memory. Memory on the node …", MEMORY_KILL),
        ("The actor died because its node has died. Node Id: 12", "its host was lost, or can't be reached"),
        ("The actor 72 is unavailable: The actor is temporarily unavailable: RpcError: RPC error: Socket closed",
         "its host was lost, or can't be reached"),
        ("Worker unexpectedly exits … (1) the process was killed by the OOM killer due to high memory usage",
         "its process died"),
        ("", "its process died"),
    ],
)  # fmt: skip
def test_what_ray_says_of_a_death_becomes_a_few_words(said: str, why: str):
    assert _why(said) == why


def test_a_trial_whose_process_dies_is_run_again_before_any_other_and_at_most_twice():
    stage = Stage()
    table = _Table(stage, None, threading.Event())
    table.ask("x0")
    for attempt in range(MAX_RETRIES):
        table.lost(f"x{attempt}", "its process died")
        assert table.ask(f"x{attempt + 1}") == spec(0) and not stage.ended
    table.lost(f"x{MAX_RETRIES}", "its process died")
    assert stage.ended == [("t0", "failed", 2)]
    assert table.ask("y") == spec(1)


def test_a_retry_goes_on_from_the_last_checkpoint_and_each_is_recorded(tmp_path):
    stage = Stage()
    stage.left = [dataclasses.replace(spec(0), checkpoint=str(tmp_path / "t0.ckpt"))]
    table = _Table(stage, None, threading.Event())
    table.ask("x")
    table.lost("x", "its process died")
    CheckpointFile(tmp_path / "t0.ckpt").save({"weights": [1.0]}, "fingerprint", epoch=3)
    table.ask("y")
    progress = table.flying["y"]
    table.lost("y", "its process died")
    assert progress.retried == [
        "its process died; retry 1/2 from epoch 1",
        "its process died; retry 2/2 from epoch 4",
    ]


def test_a_trial_that_the_memory_monitor_kills_again_and_again_is_out_of_memory():
    stage = Stage()
    table = _Table(stage, None, threading.Event())
    for attempt in range(MAX_RETRIES + 1):
        table.ask(f"x{attempt}")
        table.lost(f"x{attempt}", MEMORY_KILL)
    assert stage.ended == [("t0", "out-of-memory", 2)] and table.ask("y") == spec(1)


@pytest.mark.parametrize("call", ["ask", "report", "finish"])
def test_a_fault_of_the_stage_itself_ends_it_and_is_no_trials_end(call):
    stage = Stage()
    table = _Table(stage, None, threading.Event())
    table.ask("x")
    table.ask("y")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    setattr(stage, call, full)
    if call == "ask":
        assert table.ask("z") is None
    else:
        assert table.report("x", epoch(1) if call == "report" else END)
    assert table.stopped and str(table.fault) == "[Errno 28] No space left on device"
    table.report("y", END)
    table.lost("y", "it was ended")
    assert stage.ended == [] and table.ask("z") is None


def test_epochs_that_a_retried_trial_reports_again_count_once():
    stage = Stage()
    table = _Table(stage, None, threading.Event())
    table.ask("x")
    table.report("x", epoch(1))
    table.report("x", epoch(2))
    table.lost("x", "its process died")
    table.ask("y")
    progress = table.flying["y"]
    for number in (1, 2, 3):
        table.report("y", epoch(number))
    assert stage.epochs == [1, 2, 3]
    assert [point["epoch"] for point in progress.points] == [1, 2, 3] and progress.device_seconds == 3.0


def test_the_last_epoch_may_come_with_the_end_and_counts_once():
    stage = Stage()
    table = _Table(stage, None, threading.Event())
    table.ask("x")
    table.report("x", epoch(1))
    progress = table.flying["x"]
    last = epoch(2, 0.1)  # so bad that the stage would call it off; but it is over
    assert END is not None and not table.report("x", {**last, **END})
    assert stage.epochs == [1, 2] and stage.ended == [("t0", "completed", 0)]
    assert progress.images == 2 and progress.device_seconds == 2.0 and progress.reports == 2
    table.lost("x", "it ended")
    assert stage.ended == [("t0", "completed", 0)] and table.ask("y") == spec(1)


def test_a_pruned_trial_ends_once_even_if_its_process_reports_on():
    stage = Stage()
    table = _Table(stage, None, threading.Event())
    table.ask("x")
    assert not table.report("x", epoch(1, 0.1))
    assert table.report("x", epoch(2, 0.1))
    assert not table.report("x", epoch(3, 0.1))
    table.report("x", END)
    table.lost("x", "it ended")
    assert stage.ended == [("t0", "pruned", 0)]


def test_a_trial_that_says_that_it_lost_its_workers_is_run_again():
    stage = Stage()
    table = _Table(stage, None, threading.Event())
    table.ask("x")
    assert not table.report("x", content(payload("lost", reason="its workers were lost")))
    table.lost("x", "it ended without saying how")
    assert table.ask("y") == spec(0) and not stage.ended
    assert table.flying["y"].retried == ["its workers were lost; retry 1/2 from epoch 1"]


def test_a_stage_is_quiet_once_a_minute_while_trials_in_flight_say_nothing():
    table = _Table(Stage(), None, threading.Event())
    table._heard -= 2 * QUIET_S
    assert not table.is_quiet(), "nothing is in flight"
    table.ask("x")
    assert not table.is_quiet(), "it has just begun"
    table._heard -= 2 * QUIET_S
    assert table.is_quiet() and not table.is_quiet()
    table._heard -= 2 * QUIET_S
    table.report("x", epoch(1))
    assert not table.is_quiet()


def test_nothing_is_asked_or_failed_after_an_interruption():
    stage, interrupted = Stage(), threading.Event()
    table = _Table(stage, None, interrupted)
    table.ask("x")
    interrupted.set()
    table.lost("x", "its process was ended")
    assert table.ask("y") is None and stage.ended == []
