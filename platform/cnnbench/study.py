"""The study file: one YAML document → one frozen ``Study``. Every error is found before anything starts, named by its
field, and reported together with all others.

Names (architectures, data sets, hyperparameters) come in as a ``Vocabulary``, so that this module knows none of them.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from cnnbench.document import MAX_BYTES, DocumentError, read_yaml
from cnnbench.space import KnobLike, Space, Value, parse_space
from cnnbench.uri import has_password, without_password

SLUG = r"^[a-z0-9][a-z0-9_.-]{0,63}$"
FEWEST_SEEDS = 6  # a two-sided sign-flip test on five pairs can't go below p = 0.0625


class StudyError(Exception):
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

    sampler: Literal["tpe", "random", "cmaes", "gp", "grid"] = "tpe"
    startup_trials: PositiveInt = 4  # random ones before the sampler's model is used
    warm_start: bool = True  # the first trial is the recipe's defaults, as far as the space has them
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
    def folder(self) -> Path:
        """``<storage>/<study>``: ledger, Optuna's store, checkpoints, spool."""
        return Path(self.storage).expanduser() / self.study


# ---------------------------------------------------------------- reading


def read_recorded(path: Path) -> dict[str, Any]:
    """A ``study.json``, which may come from somebody else: within the limits of a study file, of a study with a plain
    name. Raises StudyError."""
    try:
        tree = read_yaml(path.read_text(encoding="utf-8"))  # JSON is YAML, and a document's limits hold for it, too
    except (OSError, UnicodeDecodeError, DocumentError) as error:
        raise StudyError(str(path), [f"can't be read: {error}"]) from None
    if not isinstance(tree, dict) or not is_slug(str(tree.get("study"))):
        raise StudyError(str(path), ["study: missing, or no plain name: this is no study.json that a study wrote"])
    return tree


def is_slug(name: str) -> bool:
    """True for a plain name: it may be a folder's, and leads nowhere else."""
    return re.fullmatch(SLUG.rstrip("$"), name) is not None


def recorded_folder(tree: Mapping[str, Any], field: str, path: str | Path, remedy: str) -> Path:
    """The folder that ``field`` of a ``study.json`` names, where that lies below the current folder: what others wrote
    must not choose where files go. Raises StudyError."""
    folder = Path(str(tree.get(field)))
    if folder.is_absolute() or ".." in folder.parts or str(folder).startswith("~"):
        raise StudyError(str(path), [f"{field}: {folder} is not below the current folder; {remedy}"])
    return folder


def load(path: Path, vocabulary: Vocabulary, overrides: Collection[str] = ()) -> Study:
    """Reads a study file; ``overrides`` are ``a.b=value`` strings. Raises StudyError with everything that is wrong."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise StudyError(str(path), [f"{size} bytes; a study file has at most {MAX_BYTES}"])
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StudyError(str(path), [error.strerror or str(error)]) from None
    except UnicodeDecodeError as error:
        raise StudyError(str(path), [f"not UTF-8 text: {error.reason} at byte {error.start}"]) from None
    return parse(text, vocabulary, overrides, source=str(path))


def parse(text: str, vocabulary: Vocabulary, overrides: Collection[str] = (), source: str = "study") -> Study:
    """Like ``load``, from the document's text."""
    try:
        tree = read_yaml(text)
    except DocumentError as error:
        raise StudyError(source, [str(error)]) from None
    if not isinstance(tree, dict):
        raise StudyError(source, ["the document is not a mapping; start with 'study: NAME'"])
    errors: list[str] = []
    for override in overrides:
        errors += _override(tree, override)
    if errors:
        raise StudyError(source, errors)
    space_tree = tree.get("space")
    space, errors = parse_space(space_tree if space_tree is not None else {}, vocabulary.knobs)
    rest = {key: value for key, value in tree.items() if key not in ("space", "tree")}
    if "tree" in tree:
        errors.append("tree: unknown key")
    study = None
    try:
        study = Study.model_validate_json(json.dumps(rest))  # JSON, because strict mode takes its arrays as tuples
    except ValidationError as error:
        errors = _describe_all(error) + _check_rest(rest, error, vocabulary) + errors
    if study is not None:
        errors = _check_names(study, vocabulary) + errors
    if errors or study is None:
        raise StudyError(source, errors)
    return study.model_copy(update={"space": space, "tree": tree, "search": study.search.within(study.budget.epochs)})


def _override(tree: dict[str, Any], override: str) -> list[str]:
    key, equals, text = override.partition("=")
    if not equals or not key:
        return [f"--set {override}: write --set field=value, as in --set budget.trials=4"]
    if "://" in text and has_password(text):
        where = "every user of this machine can read it there; write it into the study file, or docs/postgres.md's way"
        return [f"--set {key}: a password on the command line ({without_password(text)}): {where}"]
    try:
        value = read_yaml(text)
    except DocumentError as error:
        return [f"--set {key}: {error}"]
    *parents, last = key.split(".")
    place: Any = tree
    for parent in parents:
        if place.get(parent) is None:
            place[parent] = {}
        place = place[parent]
        if not isinstance(place, dict):
            return [f"--set {key}: {parent} holds {place!r}, which has no fields of its own"]
    place[last] = value
    return []


def _describe_all(error: ValidationError) -> list[str]:
    faults: dict[str, list[str]] = {}
    for fault in error.errors():
        # pydantic names the members of a union in the location: gpus.literal['auto'], gpus.constrained-float
        where = ".".join(str(part) for part in fault["loc"] if not re.search(r"[\[(-]", str(part)))
        faults.setdefault(where, []).append(_describe(fault))
    return [f"{where}: {' or '.join(dict.fromkeys(messages))}" for where, messages in faults.items()]


def _describe(fault: Any) -> str:
    got = fault.get("input")
    if fault["type"] == "extra_forbidden":
        return f"unknown key; allowed are {', '.join(_fields_beside(fault['loc']))}"
    if fault["type"] == "missing":
        return "missing"
    if fault["type"] == "string_pattern_mismatch":
        return f"{got!r} is no plain name: small letters, digits, '_', '-', '.', at most 64"
    message = fault["msg"].replace("Input should be", "should be")
    message = message.replace(" after validation", "").replace(" valid ", " ")
    message = message.replace("a integer", "a whole number").replace("a dictionary", "a mapping")
    hint = ""
    if fault["type"] == "bool_type" and isinstance(got, str):
        hint = "; write true or false"
    elif isinstance(got, str) and re.fullmatch(r"[0-9]+(:[0-9]{2})+", got):
        hint = "; write a time as a number of seconds"
    return f"{message}, got {got!r}{hint}"


def _fields_beside(location: tuple[Any, ...]) -> list[str]:
    model: Any = Study
    for part in location[:-1]:
        if part == "architectures":
            model = Architecture
        elif isinstance(part, str) and part in model.model_fields:
            model = model.model_fields[part].annotation
    return [name for name in model.model_fields if name != "tree"]


def _check_rest(tree: Mapping[str, Any], error: ValidationError, vocabulary: Vocabulary) -> list[str]:
    """What is wrong with the names of a study some of whose values are wrong themselves; these are left out."""
    rest = json.loads(json.dumps(tree))
    for fault in error.errors():
        _leave_out(rest, fault["loc"])
    rest = {"study": "rest", "architectures": [next(iter(vocabulary.architectures))], **rest}
    rest["data"] = {"dataset": next(iter(vocabulary.datasets)), **rest.get("data", {})}
    rest["budget"] = {"trials": 1, "epochs": 10**9, **rest.get("budget", {})}
    try:
        return _check_names(Study.model_validate_json(json.dumps(rest)), vocabulary)
    except ValidationError:
        return []


def _leave_out(tree: Any, location: tuple[Any, ...]) -> None:
    """Removes what stands at ``location``, or the last part of it that there is; of a list, all of it."""
    key, *below = location
    inside = tree.get(key)
    if isinstance(inside, list) and below and isinstance(below[0], int) and isinstance(inside[below[0]], dict):
        inside, below = inside[below[0]], below[1:]
    if isinstance(inside, dict) and below and below[0] in inside:
        _leave_out(inside, tuple(below))
    else:
        tree.pop(key, None)


def _check_names(study: Study, vocabulary: Vocabulary) -> list[str]:
    errors = []
    if study.data.dataset not in vocabulary.datasets:
        known = ", ".join(vocabulary.datasets)
        errors.append(f"data.dataset: unknown data set {study.data.dataset!r}; choose from {known}")
    for number, architecture in enumerate(study.architectures):
        if architecture.name not in vocabulary.architectures:
            known = ", ".join(vocabulary.architectures)
            errors.append(f"architectures.{number}: unknown architecture {architecture.name!r}; choose from {known}")
    rows = [architecture.row for architecture in study.architectures]
    for row in rows:
        if row.endswith("_aa") or row == "majority_class":
            errors.append(f"architectures: the name {row!r} is kept for the study's controls; give that row a 'label'")
    for row in sorted({row for row in rows if rows.count(row) > 1}):
        errors.append(f"architectures: two rows are called {row!r}; give one of them a 'label'")
    if study.finals.seeds < FEWEST_SEEDS and not study.finals.few_seeds_reason:
        errors.append(
            f"finals.seeds: {study.finals.seeds} seeds can't show a difference at p < 0.05 (it takes {FEWEST_SEEDS}); "
            "if that is meant, say why in finals.few_seeds_reason"
        )
    errors += _check_effects(study.effects.components, vocabulary)
    if study.budget.images is not None and study.budget.device_seconds is not None:
        errors.append("budget: images and device_seconds are given; architectures get the same of one of them")
    for name, value, wanted in (("storage", study.storage, False), ("shared_storage", study.shared_storage, True)):
        if value is not None and ("://" in value) != wanted:
            what = "a URI, such as s3://bucket/prefix" if wanted else "a folder; shared_storage takes a URI"
            errors.append(f"{name}: {value!r} should be {what}")
    if study.search.storage and not re.match(r"postgresql(\+psycopg)?://", study.search.storage):
        shown = without_password(study.search.storage)
        errors.append(
            f"search.storage: {shown!r} is no Postgres address; write postgresql://USER@HOST/DATABASE, or null"
        )
    if (study.search.min_epochs or 1) > study.budget.epochs:
        errors.append(f"search.min_epochs: {study.search.min_epochs} is more than budget.epochs, {study.budget.epochs}")
    return errors


def _check_effects(components: Any, vocabulary: Vocabulary) -> list[str]:
    errors = []
    for name in components or ():
        if name not in vocabulary.effects:
            known = ", ".join(vocabulary.effects)
            errors.append(f"effects.components: unknown component {name!r}; choose from {known}")
            continue
        for value in components[name] if isinstance(components, Mapping) else ():
            if not vocabulary.knobs[name].accepts(value):
                allowed = vocabulary.knobs[name].allowed
                errors.append(f"effects.components.{name}: unknown value {value!r}; choose from {allowed}")
    return errors
