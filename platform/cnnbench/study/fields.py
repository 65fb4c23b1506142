"""A study file's fields, with their limits and defaults."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt

from cnnbench.errors import UserError
from cnnbench.study.folder import StudyFolder
from cnnbench.study.samplers import SAMPLERS
from cnnbench.study.space import KnobLike, Space, Value

if TYPE_CHECKING:
    SamplerName = str
else:
    SamplerName = Literal[tuple(SAMPLERS)]

SLUG = r"^[a-z0-9][a-z0-9_.-]{0,63}$"
FEWEST_SEEDS = 6  # a two-sided sign-flip test on five pairs can't go below p = 0.0625


class StudyError(UserError):
    """Everything that is wrong with a study file; ``errors`` has one line each, field first."""

    def __init__(self, source: str, errors: Collection[str]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(f"{source}: {error}" for error in self.errors))


@dataclass(frozen=True)
class Vocabulary:
    """The names that a study file may use."""

    architectures: Collection[str]
    datasets: Collection[str]
    knobs: Mapping[str, KnobLike]
    effects: Mapping[str, Collection[Value]] = field(default_factory=dict)  # what `cnnbench effects` can swap


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Slug = Annotated[str, Field(pattern=SLUG)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Data(Part):
    """The data set, its size, and the split that the search scores on."""

    dataset: str
    root: str | None = None  # None: $CNNBENCH_DATA, else the data set's usual place
    image_size: Annotated[int, Field(ge=4, le=1024)] = 32
    channels: Literal[1, 3] | None = None  # None: as the data set has them
    validation_fraction: Fraction = 0.15
    split_seed: NonNegativeInt = 0
    train_limit: PositiveInt | None = None  # images, stratified; None: all
    test_limit: PositiveInt | None = None


class Architecture(Part):
    """One leaderboard row: an architecture and its own options."""

    name: str
    label: Slug | None = None
    width: Annotated[float, Field(gt=0, le=16)] = 1.0  # multiplies the channel counts
    depth: Annotated[float, Field(gt=0, le=16)] = 1.0  # multiplies the blocks of each stage
    stem: Literal["auto", "small", "imagenet"] = "auto"

    @property
    def row(self) -> str:
        """The row's name in the leaderboard."""
        width = "" if self.width == 1 else f"_w{self.width:g}"
        depth = "" if self.depth == 1 else f"_d{self.depth:g}"
        # timm:NAME and package.module:callable are no slugs
        name = re.sub(r"[^a-z0-9_.-]", "_", self.name.lower())
        return self.label or (name + width + depth)[-64:].lstrip("_.-")


class Budget(Part):
    """What each architecture's search gets: the same number of trials, each with the same maximum of epochs. Where
    ``images`` or ``device_seconds`` is given, its trials get so much of that together, and ``trials`` is their most."""

    trials: PositiveInt
    epochs: PositiveInt
    images: PositiveInt | None = None  # trained on, each as often as it was
    device_seconds: PositiveFloat | None = None  # of training and validation, times workers
    time_limit_s: PositiveFloat | None = None  # of one run's search; trials that run then finish

    @property
    def limit(self) -> tuple[Literal["images", "device_seconds"], float] | None:
        """What an architecture's trials may spend together: (unit, amount); None: their epochs."""
        if self.images is not None:
            return "images", float(self.images)
        return None if self.device_seconds is None else ("device_seconds", self.device_seconds)


class Constraints(Part):
    """Limits that a configuration must keep to; one that does not is never trained. None: no limit."""

    max_params: PositiveInt | None = None
    max_macs: PositiveInt | None = None  # multiply-accumulates of one image's forward pass


class Search(Part):
    """How configurations are proposed and stopped early."""

    sampler: SamplerName = "tpe"
    startup_trials: PositiveInt = 4  # before the sampler's model is used: warm starts, then random ones
    warm_start: bool = True  # begin with the recipe's defaults, and with what a short training wants instead
    pruner: Literal["asha", "median", "none"] = "asha"
    min_epochs: PositiveInt | None = None  # no trial is pruned before; None: a ninth of budget.epochs
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    seed: NonNegativeInt = 0
    storage: str | None = None  # a Postgres database that shows the search, too; None: a journal in the study's folder

    def within(self, epochs: int) -> "Search":
        """The settings with ``min_epochs`` filled in: by default, trials are judged at a ninth and a third of their
        epochs. Before, noise decides, and what rises slowly, such as a warm-up, is stopped before it shows."""
        return self if self.min_epochs else self.model_copy(update={"min_epochs": max(1, epochs // 9)})


class Finals(Part):
    """Retraining of each architecture's best configuration on train + validation."""

    seeds: PositiveInt = FEWEST_SEEDS
    first_seed: NonNegativeInt = 1000  # search trials use seeds of their own
    workers: PositiveInt = 1  # DDP workers a final
    few_seeds_reason: str | None = None  # needed where seeds < 6


class Effects(Part):
    """Which components ``cnnbench effects`` swaps, one at a time, in each architecture's frozen configuration."""

    # None: those that the space searches; a list: all values of these; a mapping: these values
    components: tuple[str, ...] | Mapping[str, tuple[str | int | float | bool, ...]] | None = None
    seeds: PositiveInt = FEWEST_SEEDS  # the first ones of the finals; all of them where they are fewer
    lr_factors: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (0.3, 1.0, 3.0)  # of the tuned rate


class Resources(Part):
    """What one worker of a trial gets, and where Ray runs."""

    workers: PositiveInt = 1  # DDP workers a search trial
    cpus: PositiveFloat = 1.0
    gpus: Literal["auto"] | Annotated[float, Field(ge=0)] = "auto"  # auto: one a worker where there are any
    concurrent_trials: Literal["auto"] | PositiveInt = "auto"  # auto: as many as fit
    price_per_hour: PositiveFloat | None = None  # of one worker's device, in any currency
    nodes: PositiveInt | None = None  # of a cluster: nodes that take trials, to wait for before the study starts
    cluster: str = "auto"  # auto: the Ray cluster this machine belongs to, else a local one; local; or an address


def _from_name(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


class Study(Part):
    """A whole study, checked. ``tree`` is the document that it came from, for the record."""

    study: Slug
    data: Data
    architectures: Annotated[
        tuple[Annotated[Architecture, BeforeValidator(_from_name)], ...], Field(min_length=1, max_length=1000)
    ]
    budget: Budget
    constraints: Constraints = Constraints()
    search: Search = Search()
    finals: Finals = Finals()
    effects: Effects = Effects()
    resources: Resources = Resources()
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    unreached_components: Literal["refuse", "leave_out"] = "refuse"
    checkpoint_every_s: Annotated[float, Field(ge=0)] = 30.0
    storage: str = "results"
    # on a cluster: a URI that every node reaches (s3://bucket/prefix), for checkpoints and a copy of the ledger; None:
    # the storage folder is one that all nodes share
    shared_storage: str | None = None
    reports: str = "reports"
    tracking_uri: str | None = None  # None: sqlite in the storage folder
    space: Space = Field(default_factory=dict, exclude=True)  # parsed by hand: its errors read better so
    tree: Mapping[str, Any] = Field(default_factory=dict, exclude=True)

    @property
    def folder(self) -> StudyFolder:
        """``<storage>/<study>``: ledger, Optuna's store, checkpoints, spool."""
        return StudyFolder(Path(self.storage).expanduser() / self.study, self.shared_storage)
