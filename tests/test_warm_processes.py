"""Which trial gets a process that has become free."""

from dataclasses import dataclass
from typing import Any

from ray.tune.experiment import Trial

from cnnbench.distributed.tune import _Referee


@dataclass
class Waiting:
    """What the referee looks at of a trial."""

    trial_id: str
    status: str = Trial.PENDING


def test_a_new_trial_goes_before_one_for_which_a_process_is_being_started() -> None:
    referee, controller = _Referee(None), None  # type: ignore[arg-type]
    trials: dict[str, Any] = {name: Waiting(name) for name in "abc"}

    def chosen() -> Any:
        trial = referee.choose_trial_to_run(controller)
        return trial and trial.trial_id

    assert chosen() is None
    referee.on_trial_add(controller, trials["a"])
    assert [chosen(), chosen()] == ["a", "a"]  # its process is being started
    referee.on_trial_add(controller, trials["b"])  # another trial has ended, and left its process
    assert chosen() == "b"
    trials["b"].status = Trial.RUNNING
    assert chosen() == "a"
    referee.on_trial_add(controller, trials["c"])
    trials["a"].status = Trial.RUNNING
    assert [chosen(), chosen()] == ["c", "c"]
    trials["c"].status = Trial.TERMINATED
    assert chosen() is None
