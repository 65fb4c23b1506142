"""The search: one Optuna study per leaderboard row, asked and told by hand, all rows in one schedule of equal budgets.

No Ray here: an ask gives a configuration, a report says whether to go on, a tell ends a trial. The ledger is the truth;
Optuna's store (distributed/optuna_store.py) is written anew from it at every start, so that it can't disagree.

Every ask makes a sampler from (seed, row, index): what is proposed depends on that and on the finished trials alone,
so an interrupted study goes on as if it had not been.
"""

import itertools
import math
import random
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState

from cnnbench import study as study_file
from cnnbench.data.seeds import derived_seed
from cnnbench.ledger import TrialRecord
from cnnbench.search.configuration import proposed_values
from cnnbench.search.neighbours import NeighbourSampler
from cnnbench.search.optuna_store import new_studies
from cnnbench.search.rungs import Rungs
from cnnbench.search.warm_starts import warm_starts
from cnnbench.study.samplers import SAMPLERS
from cnnbench.study.space import Choice, Fixed, FloatRange, Space, Value, walk

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

STATES = {"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED}  # every other status is a FAIL


Admits = Callable[[str, Mapping[str, Value]], bool]  # may this row's configuration be trained?
RANDOM_SHARE = 1 / 3  # of TPE's trials, as in BOHB (Falkner et al. 2018, arXiv:1807.01774)
NEAR_SHARE = 1 / 3  # of TPE's trials: near the best so far; see ``neighbours``
MODEL_ATTEMPTS, MOST_ATTEMPTS = 3, 200  # at a configuration that is admitted; then the row is given up


@dataclass(frozen=True)
class Proposal:
    """What to try next: every searched and fixed hyperparameter by its name."""

    row: str
    index: int
    values: Mapping[str, Value]


class StudySearch:
    """Equal budgets for every row: the row with the fewest trials asked is served next."""

    def __init__(
        self,
        settings: study_file.Search,
        trials: int,
        spaces: Mapping[str, Space],
        journal: Path,
        records: Sequence[TrialRecord] = (),
        admits: Admits | None = None,
        limit: tuple[str, float] | None = None,
        validation_images: int | None = None,
        trial_images: int | None = None,
        normalized: Collection[str] = (),
    ) -> None:
        """``spaces``: row → its space. ``journal``: a file in the study's own folder. ``records``: the finished search
        trials of an interrupted study. A configuration that ``admits`` refuses is no trial, and another is proposed in
        its place; None: all may be. ``limit``: (images or device_seconds, how much of it) that a row's trials may spend
        together; None: all. ``validation_images``: that accuracies are measured on, which early stopping allows for;
        None: they are taken as exact. ``trial_images``: training images that a whole trial sees, each as often as it
        does, which the warm starts of the ``normalized`` rows, those with normalisations, go by; None: they don't."""
        self._settings = settings
        self._rungs = Rungs(settings.min_epochs or 1, settings.reduction_factor, validation_images)
        self._spaces = spaces
        self._admits = admits
        self._limit = limit
        self._spent: dict[str, dict[int, float]] = {row: {} for row in spaces}  # trial → what it spent of the limit
        self._grids = {row: self._grid(row) for row in spaces} if settings.sampler == "grid" else {}
        self._budget = {row: min(trials, len(self._grids.get(row, range(trials)))) for row in spaces}
        self._warm_starts = {row: self._warm(row, trial_images, row in normalized) for row in spaces}
        self.given_up = [row for row, budget in self._budget.items() if budget == 0]
        self._asked: dict[str, set[int]] = {row: set() for row in spaces}
        self._running: dict[tuple[str, int], optuna.Trial] = {}
        self._studies = new_studies(settings.storage, journal, list(spaces), make_pruner(settings))
        for record in records:
            if record.row in spaces:
                self._replay(record)

    @property
    def total(self) -> int:
        """Trials of the whole search."""
        return sum(self._budget.values())

    @property
    def waiting(self) -> int:
        """Trials that were not asked for yet."""
        rows = [row for row in self._asked if self._has_left(row)]
        return sum(self._budget[row] - len(self._asked[row]) for row in rows)

    def ask(self) -> Proposal | None:
        """The next configuration to try; None when every row has had its budget."""
        rows = [row for row in self._asked if self._has_left(row)]
        if not rows:
            return None
        row = min(rows, key=self._used)  # ties: the study's order
        index = next(i for i in range(self._budget[row]) if i not in self._asked[row])
        self._asked[row].add(index)
        proposal = self._propose(row, index)
        if proposal is None:
            self.given_up.append(row)
        return proposal or self.ask()

    def _has_left(self, row: str) -> bool:
        return row not in self.given_up and len(self._asked[row]) < self._budget[row] and not self._is_spent(row)

    def _used(self, row: str) -> tuple[float, float]:
        """The shares of its limit and of its trials that a row has had."""
        of_limit = math.fsum(self._spent[row].values()) / self._limit[1] if self._limit else 0.0
        return of_limit, len(self._asked[row]) / self._budget[row]

    def _is_spent(self, row: str) -> bool:
        return self._limit is not None and math.fsum(self._spent[row].values()) >= self._limit[1]

    @property
    def is_over(self) -> bool:
        """True when there is nothing left to ask."""
        return not any(map(self._has_left, self._asked))

    def _propose(self, row: str, index: int) -> Proposal | None:
        """A configuration that is admitted; None if none was found."""
        study, space = self._studies[row], self._spaces[row]
        if self._grids:
            study.enqueue_trial(self._grids[row][index])
        elif self._is_warm(row, index) or self._admits is not None or self._settings.sampler == "tpe":
            values = self._warm_starts[row][index] if self._is_warm(row, index) else self._drawn(row, index)
            if values is None:
                return None
            study.enqueue_trial({path: values[name] for name, path in _active(space, values)})
        study.sampler = make_sampler(self._settings, derived_seed(self._settings.seed, row, index) % 2**32)
        trial = study.ask()
        trial.set_user_attr("index", index)
        self._running[row, index] = trial
        return Proposal(row, index, suggest(trial, space))

    def _is_admitted(self, row: str, values: Mapping[str, Value]) -> bool:
        return self._admits is None or self._admits(row, values)

    def _drawn(self, row: str, index: int) -> dict[str, Value] | None:
        """Values drawn until they are admitted, in a copy of the study: the study itself must not remember what was
        refused, because an interrupted search would not know of it. None if none was."""
        scratch = optuna.create_study(direction="maximize")
        scratch.add_trials(self._seen_by_model(row))
        for attempt in range(MOST_ATTEMPTS):
            seed = derived_seed(self._settings.seed, row, index, attempt) % 2**32
            # a sampler's model that does not know the limits may insist on what they refuse
            scratch.sampler = self._sampler(row, index, seed) if attempt < MODEL_ATTEMPTS else RandomSampler(seed)
            trial = scratch.ask()
            values = suggest(trial, self._spaces[row])
            if self._is_admitted(row, values):
                return values
            scratch.tell(trial, state=TrialState.FAIL)
        return None

    def _sampler(self, row: str, index: int, seed: int) -> BaseSampler:
        if self._is_random(row, index):
            return RandomSampler(seed)
        if self._is_near_the_best(row, index) and (best := self._best_parameters(row)) is not None:
            return NeighbourSampler(best, seed)
        return make_sampler(self._settings, seed)

    def _is_random(self, row: str, index: int) -> bool:
        """True for TPE's first trials and a share of its later ones, which are drawn at random: so it can't stay for
        ever where what it saw first has led it."""
        if self._settings.sampler != "tpe" or index < self._settings.startup_trials:
            return self._settings.sampler == "tpe"
        return self._lot(row, index) < RANDOM_SHARE

    def _is_near_the_best(self, row: str, index: int) -> bool:
        return self._settings.sampler == "tpe" and RANDOM_SHARE <= self._lot(row, index) < RANDOM_SHARE + NEAR_SHARE

    def _lot(self, row: str, index: int) -> float:
        """In [0, 1): decides how a trial of TPE's is drawn."""
        return random.Random(derived_seed(self._settings.seed, row, index, "random")).random()

    def _best_parameters(self, row: str) -> Mapping[str, Value] | None:
        """Of the best trial that ran to its end, by Optuna's names; None without one."""
        trials = self._studies[row].get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        known = [trial for trial in trials if trial.value is not None]
        return max(known, key=lambda trial: trial.value or 0.0).params if known else None

    def _seen_by_model(self, row: str) -> list[optuna.trial.FrozenTrial]:
        trials = self._studies[row].get_trials(deepcopy=False)
        if not self._has_rungs or self._settings.sampler != "tpe":
            return trials
        return self._rungs.judged_again(trials, lambda trial: self._sets_bar(row, trial))

    def _warm(self, row: str, trial_images: int | None, normalized: bool) -> list[dict[str, Value]]:
        """Configurations to begin with: one, and more where they are no more than a third of the row's trials, or of
        the whole ones that its images pay for."""
        if self._grids or not self._settings.warm_start:
            return []
        trials = self._budget[row]
        if trial_images and self._limit and self._limit[0] == "images":
            trials = min(trials, int(self._limit[1]) // trial_images)
        starts = warm_starts(self._spaces[row], trial_images, normalized=normalized)[: max(1, trials // 3)]
        return [values for values in starts if self._is_admitted(row, values)]

    def _is_warm(self, row: str, index: int) -> bool:
        return index < len(self._warm_starts[row])

    def _grid(self, row: str) -> list[dict[str, Value]]:
        space = self._spaces[row]
        fixed = {name: domain.value for name, domain in space.items() if isinstance(domain, Fixed)}
        points = grid_of(space, self._settings.seed)
        return [point for point in points if self._admits is None or self._admits(row, {**fixed, **point})]

    def report(self, row: str, index: int, epoch: int, accuracy: float) -> bool:
        """Takes an epoch's validation accuracy; True if the trial should be pruned."""
        trial = self._running[row, index]
        trial.report(accuracy, epoch)
        if self._is_warm(row, index):  # being so few, they go all the way: the slower one at first may end higher
            return False
        return self._is_stopped(row, index, epoch, accuracy) if self._has_rungs else bool(trial.should_prune())

    @property
    def _has_rungs(self) -> bool:
        return self._settings.pruner == "asha"

    def _is_stopped(self, row: str, index: int, epoch: int, accuracy: float) -> bool:
        if not self._rungs.is_at(epoch):
            return False
        others = [
            trial.intermediate_values[epoch]
            for trial in self._studies[row].get_trials(deepcopy=False)
            if epoch in trial.intermediate_values
            and trial.user_attrs.get("index") != index
            and self._sets_bar(row, trial)
        ]
        return self._rungs.is_stopped(accuracy, others)

    def _sets_bar(self, row: str, trial: optuna.trial.FrozenTrial) -> bool:
        """True for a trial that no earlier one led to."""
        index = trial.user_attrs["index"]
        return self._settings.sampler != "tpe" or self._is_warm(row, index) or self._is_random(row, index)

    def spend(self, row: str, index: int, amount: float) -> bool:
        """Takes what a trial has spent so far, in the limit's unit; True if its row has nothing left."""
        self._spent[row][index] = amount
        return self._is_spent(row)

    def tell(self, record: TrialRecord) -> None:
        """Ends a trial: completed with its score, pruned with what it had reported, anything else as failed."""
        trial = self._running.pop((record.row, record.index))
        if self._limit is not None:
            self.spend(record.row, record.index, float(getattr(record.budget, self._limit[0])))
        trial.set_user_attr("status", record.status)
        state = STATES.get(record.status, TrialState.FAIL)
        value = record.score if state is TrialState.COMPLETE else None
        self._studies[record.row].tell(trial, value, state)

    def _replay(self, record: TrialRecord) -> None:
        """Puts a finished trial into Optuna as it was, rung by rung, so that later ones are judged against it."""
        space, study = self._spaces[record.row], self._studies[record.row]
        values = proposed_values(record, space)
        study.enqueue_trial({path: values[name] for name, path in _active(space, values)})
        study.sampler = RandomSampler(seed=0)
        trial = study.ask()
        suggest(trial, space)
        trial.set_user_attr("index", record.index)
        self._asked[record.row].add(record.index)
        self._running[record.row, record.index] = trial
        for point in record.epochs:
            if point.val_accuracy is not None:
                self.report(record.row, record.index, point.epoch, point.val_accuracy)
        self.tell(record)


def _active(space: Space, values: Mapping[str, Value], prefix: str = "") -> list[tuple[str, str]]:
    """(name, Optuna's name) of every parameter that ``values`` were searched over."""
    found = []
    for name, domain in space.items():
        if not isinstance(domain, Fixed):
            found.append((name, f"{prefix}{name}"))
        if isinstance(domain, Choice):
            option = values[name]
            found += _active(domain.options[option], values, f"{prefix}{name}.{option}.")
    return found


def suggest(trial: optuna.Trial, space: Space, prefix: str = "") -> dict[str, Value]:
    """Draws a value for every parameter of ``space``, going down into the choices that were drawn.

    Optuna sees a nested parameter by its whole path (``optimizer.sgd.lr``), because its ranges differ by branch.
    """
    values: dict[str, Value] = {}
    for name, domain in space.items():
        path = f"{prefix}{name}"
        if isinstance(domain, Fixed):
            values[name] = domain.value
        elif isinstance(domain, Choice):
            option = trial.suggest_categorical(path, tuple(domain.options))
            values[name] = option
            values.update(suggest(trial, domain.options[option], f"{path}.{option}."))
        elif isinstance(domain, FloatRange):
            values[name] = trial.suggest_float(path, domain.low, domain.high, log=domain.log)
        else:
            values[name] = trial.suggest_int(path, domain.low, domain.high, step=domain.step, log=domain.log)
    return values


def make_sampler(settings: study_file.Search, seed: int) -> BaseSampler:
    """A fresh sampler; what it has learnt, it learns again from the study's trials."""
    sampler = SAMPLERS[settings.sampler]
    startup = {"n_startup_trials": settings.startup_trials} if sampler.learns else {}
    made: BaseSampler = getattr(optuna.samplers, sampler.optuna)(seed=seed, **startup, **sampler.options)
    return made


def grid_of(space: Space, seed: int) -> list[dict[str, Value]]:
    """Every point of a space of plain choices, in a seeded random order, so that a smaller budget is no corner of it.

    Raises ValueError, naming the parameter, for any other space.
    """
    axes: dict[str, Sequence[Value]] = {}
    for _, path, domain in walk(space):
        if isinstance(domain, Fixed):
            continue
        if not isinstance(domain, Choice):
            raise ValueError(f"space.{path}: search.sampler: grid needs choices, not ranges")
        if any(domain.options.values()):
            raise ValueError(
                f"space.{path}: search.sampler: grid can't search parameters that exist under one choice only"
            )
        axes[path] = tuple(domain.options)
    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    random.Random(seed).shuffle(points)
    return points


def make_pruner(settings: study_file.Search) -> optuna.pruners.BasePruner:
    """Early stopping that compares a trial with its own architecture's trials only; asha's rungs are in ``rungs``."""
    if settings.pruner == "median":
        return optuna.pruners.MedianPruner(
            n_startup_trials=settings.startup_trials, n_warmup_steps=(settings.min_epochs or 1) - 1
        )
    return optuna.pruners.NopPruner()
