"""The front of all search trials: those that no other beats in validation accuracy, MACs and parameters at once."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from cnnbench.ledger import TrialRecord
from cnnbench.report.figures.tuning import trial_score
from cnnbench.report.formats import value
from cnnbench.report.table.row_records import RowRecords, configuration


@dataclass(frozen=True)
class Member:
    """A trial of the front. accuracy: of the validation images, in [0, 1]; a pruned trial's is its best so far."""

    row: str
    trial: str
    status: str
    accuracy: float
    macs: int
    params: int
    settings: str


@dataclass(frozen=True)
class Front:
    """members: the most accurate first; trials: of how many they are the front; left_out: trials without an accuracy,
    diverged or failed."""

    members: tuple[Member, ...]
    trials: int
    left_out: int


def trial_front(rows: Sequence[RowRecords], names: Collection[str] = ()) -> Front:
    """The front over the trials of all rows. Of trials that are equal in all three, the first stands for all. names: of
    the settings to tell."""
    trials = [(row.label, trial) for row in rows for trial in row.trials]
    scored = [(trial_score(trial), label, trial) for label, trial in trials]
    scored = [entry for entry in scored if entry[0] > 0]
    best: dict[tuple[int, int], tuple[float, str, TrialRecord]] = {}  # costs are those of networks: few are distinct
    for entry in scored:
        costs = entry[2].cost.macs, entry[2].cost.params
        if costs not in best or entry[0] > best[costs][0]:
            best[costs] = entry
    kept = not_beaten((entry[0], *costs) for costs, entry in best.items())
    members = [_member(*best[macs, params], names) for _, macs, params in kept]
    return Front(tuple(members), len(scored), len(trials) - len(scored))


def not_beaten(points: Iterable[tuple[float, int, int]]) -> list[tuple[float, int, int]]:
    """Of (accuracy, MACs, parameters), all different, those that no other point beats: one at least as accurate that
    costs no more of either. The most accurate first."""
    front: list[tuple[float, int, int]] = []
    for point in sorted(points, key=lambda point: (-point[0], point[1], point[2])):
        # whatever could beat it came before
        if not any(macs <= point[1] and params <= point[2] for _, macs, params in front):
            front.append(point)
    return front


def _member(accuracy: float, label: str, trial: TrialRecord, names: Collection[str]) -> Member:
    _, components, hyperparameters = configuration(trial)
    found = {**components, **hyperparameters}
    settings = ", ".join(f"{name} {value(found[name])}" for name in names if name in found)
    return Member(label, trial.trial_id, trial.status, accuracy, trial.cost.macs, trial.cost.params, settings)
