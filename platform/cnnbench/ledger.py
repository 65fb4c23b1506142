"""The ledger: one JSON line per finished training, appended whole and fsynced. It is the truth;
MLflow, Optuna's store and the report are views of it."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic import dataclasses as checked

from cnnbench.errors import UserError
from cnnbench.whole_file import damaged_name

SCHEMA: Literal[1] = 1
_CURRENT = f'{{"schema_version":{SCHEMA},'.encode()  # how a line of this version begins

Stage = Literal["search", "final", "effect"]
Status = Literal["completed", "pruned", "diverged", "out-of-memory", "failed"]
Value = str | int | float | bool | None


class LedgerError(UserError):
    """A ledger that can't be read; the message names the file, the line and the remedy."""


class LedgerWriteError(UserError, OSError):
    """A line that could not be written, such as on a full disk; the message names the path and the bytes needed."""


class Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ComponentUse(Frozen):
    """What a component knob did: the value that was put in, and at how many sites."""

    value: Value
    sites: int = Field(ge=0, description="0: the network has no such site, and the study allowed that")


class Cost(Frozen):
    """What a network costs, known before training (cnnbench.networks.cost)."""

    params: int
    trainable_params: int
    macs: int = Field(description="multiply-accumulates of one image's forward pass")
    flops: int = Field(description="2 × macs: a multiplication and an addition count as one each")
    size_mb: float = Field(description="parameters and buffers, in 10^6 bytes")
    input: tuple[int, int, int] = Field(description="(channels, height, width) that macs were counted at")


class Speed(Frozen):
    """A forward pass of a trained network, measured on the final's machine in its number format and layout."""

    latency_ms_median: float = Field(description="of one image, in milliseconds")
    latency_ms_p95: float
    latency_runs: int
    throughput: float = Field(description="images per second, in batches of throughput_batch")
    throughput_batch: int
    peak_memory_mb: float = Field(description="of one image: weights, buffers, image, activations, in 10^6 bytes")
    device: str = Field(description="cpu or cuda; the machine's name stands in 'machine'")
    threads: int


class Split(Frozen):
    """Which images were trained on and which scored."""

    dataset: str
    train: int
    validation: int
    test: int | None = Field(description="None in a search trial, which has no test set")
    seed: int
    data_checksum: str
    split_checksum: str


@checked.dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class EpochPoint:
    """One epoch's metrics; losses in nats an image, accuracies in [0, 1]. With slots: a study has a million of them."""

    epoch: int = Field(ge=1)
    train_loss: float
    train_accuracy: float
    val_loss: float | None = None
    val_accuracy: float | None = None
    learning_rate: float
    seconds: float

    def known(self) -> dict[str, Any]:
        """The fields that have a value."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


class ClassScore(Frozen):
    """One class's row of the test report."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


class TestMetrics(Frozen):
    """Read once per final. accuracy in [0, 1]; confusion[i][j]: images of class i called class j."""

    __test__ = False  # not a pytest class

    accuracy: float
    loss: float
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]


class SearchLimit(Frozen):
    """What a row's search trials might spend together, where that is not their epochs."""

    unit: Literal["images", "device_seconds"]
    amount: float
    trials: int = Field(description="the most trials, whatever they spend")


class BudgetSpent(Frozen):
    """What a trial might spend, and what it spent."""

    epochs_asked: int
    epochs: int
    images: int
    device_seconds: float = Field(description="seconds of training times workers, evaluation included")
    reports: int = 0
    retries: int = 0
    search_limit: SearchLimit | None = Field(default=None, description="of a search trial's row")


class Machine(Frozen):
    """Where a trial ran, and on which versions."""

    device: str = Field(description="for example 'cpu: Intel Xeon' or 'cuda: NVIDIA H200'")
    workers: int
    precision: Literal["fp32", "bf16"]
    channels_last: bool
    host_cpus: int
    peak_memory_mb: float
    python: str
    versions: Mapping[str, str]
    lock: str | None = Field(default=None, description="sha256 of the code's constraints.txt")
    repeats: Literal["to the bit", "as far as PyTorch can"] | None = Field(
        default=None, description="how far the same seed gives the same result there; None: not recorded"
    )


class EffectOf(Frozen):
    """Which one component of a row's frozen configuration was swapped, and what the training was for."""

    component: str = Field(description="a component kind or a hyperparameter: activation, schedule, …")
    value: Value
    instead_of: Value = Field(description="what the frozen configuration has")
    phase: Literal["tuning", "measured"] = Field(
        description="tuning: scored on validation images, to choose a learning rate; measured: on the test images"
    )
    lr_factor: float = Field(gt=0, description="learning rate, as a multiple of the frozen configuration's")


class TrialRecord(Frozen):
    """One finished trial (stage 'search'), final, or training for an effect. A record without seed, split, budget,
    hardware and commit can't be written: none of these fields has a default."""

    schema_version: Literal[1] = SCHEMA
    study: str
    stage: Stage
    trial_id: str = Field(description="unique in the study, and the same when an interrupted study runs again")
    index: int = Field(ge=0, description="counts an architecture's trials, or its finals, from 0")
    row: str = Field(description="the leaderboard row: the architecture's label in this study")
    architecture: str
    year: int
    family: str
    options: Mapping[str, Value] = Field(description="the architecture's own options: width, stem, …")
    components: Mapping[str, ComponentUse]
    hyperparameters: Mapping[str, Value]
    seed: int
    split: Split
    budget: BudgetSpent
    control: Literal["a/a", "majority"] | None = Field(
        default=None,
        description="a/a: a final of the best row's configuration again, with other seeds, under a row of its own; "
        "majority: always the training split's largest class",
    )
    effect: EffectOf | None = Field(default=None, description="of stage 'effect' alone")
    status: Status
    reason: str = Field(default="", description="why a trial did not complete")
    retried: tuple[str, ...] = Field(default=(), description="of each retry: why it was made, and from which epoch on")
    score: float | None = Field(description="validation accuracy in [0, 1]; None in a final, and in a measured effect")
    stop_epoch: int | None = Field(description="the epoch that the score was taken at")
    epochs: tuple[EpochPoint, ...] = Field(max_length=100)
    test: TestMetrics | None
    cost: Cost
    speed: Speed | None = Field(default=None, description="of completed finals, from the version that measured it on")
    machine: Machine
    commit: str
    started_utc: str
    finished_utc: str


@dataclass(frozen=True)
class Reading:
    """A ledger as read: its records in the order written, and what had to be dropped."""

    records: tuple[TrialRecord, ...]
    warnings: tuple[str, ...] = ()


class Ledger:
    """The append-only file ``<storage>/<study>/ledger.jsonl``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: TrialRecord) -> None:
        """Writes one line and waits until the disk has it. A half line that a crash left is cut off first."""
        line = (record.model_dump_json() + "\n").encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab+", buffering=0) as file:
                _append_whole(file.fileno(), line)
        except OSError as error:
            raise LedgerWriteError(
                f"{self.path}: could not write {len(line)} bytes: {error.strerror or error}; make room there"
            ) from error

    def quarantine_half_line(self) -> str | None:
        """Cuts off a last line that a crash left half written, and keeps it beside; says so, or None."""
        if not self.path.exists():
            return None
        text = self.path.read_bytes()
        end = text.rfind(b"\n") + 1
        if end == len(text):
            return None
        beside = damaged_name(self.path)
        with open(beside, "ab") as file:
            file.write(text[end:] + b"\n")
        os.truncate(self.path, end)
        lines = text.count(b"\n")
        return (
            f"quarantined the half-written last line of {self.path.name} as {beside.name}, using the {lines} whole "
            f"line{'' if lines == 1 else 's'} before it; that trial is run again"
        )

    def read(self) -> Reading:
        """All records. A last line without its end is dropped with a warning; any other fault raises LedgerError."""
        if not self.path.exists():
            return Reading(())
        records, half = [], False
        with open(self.path, "rb") as file:
            for number, line in enumerate(file, 1):
                half = not line.endswith(b"\n")
                if not half and line != b"\n":
                    records.append(self._parse(number, line))
        warnings = (f"{self.path}: dropped a last line that was not written whole",) if half else ()
        return Reading(tuple(records), warnings)

    def _parse(self, number: int, line: bytes) -> TrialRecord:
        where = f"{self.path}, line {number}"
        if not line.startswith(_CURRENT):
            _check_version(where, line)
        try:
            return TrialRecord.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            what = f"{field}: {first['msg']}" if field else f"not JSON ({first['msg']})"
            raise LedgerError(f"{where}: {what}; restore the file, or delete that line") from None


def _check_version(where: str, line: bytes) -> None:
    """Raises LedgerError for a line that is no JSON, or of another schema version."""
    try:
        written: Any = json.loads(line)
    except ValueError as error:
        raise LedgerError(f"{where}: not JSON ({error}); restore the file, or delete that line") from None
    version = written.get("schema_version") if isinstance(written, dict) else None
    if version != SCHEMA:
        raise LedgerError(
            f"{where}: schema version {version!r}, but this cnnbench reads version {SCHEMA}; "
            "run the study again, or read it with the cnnbench version that wrote it"
        )


def _append_whole(descriptor: int, line: bytes) -> None:
    """All of the line, on the disk, or nothing of it."""
    _cut_half_line(descriptor)
    size = os.lseek(descriptor, 0, os.SEEK_END)
    try:
        left = line
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def _cut_half_line(descriptor: int) -> None:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    keep = size
    while keep > 0:
        start = max(0, keep - 65536)
        block = os.pread(descriptor, keep - start, start)
        end = block.rfind(b"\n")
        if end >= 0:
            keep = start + end + 1
            break
        keep = start
    if keep != size:
        os.ftruncate(descriptor, keep)
