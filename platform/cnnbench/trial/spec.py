"""What crosses between the driver and a trial's process: plain values, as JSON, and where its images are."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from cnnbench.networks.spec import NetworkSpec

Value = str | int | float | bool | None


@dataclass(frozen=True)
class TrialImagesRef:
    """Where the stage's material lies in Ray's object store; inside an object, so that Ray hands on the reference."""

    ref: Any


@dataclass(frozen=True)
class TrialSpec:
    """Everything that a trial's process is told. ``checkpoint`` is a file that an interrupted trial goes on from."""

    trial_id: str
    stage: Literal["search", "final", "effect"]
    scores_on: Literal["validation", "test"]  # images; those of validation after each epoch, those of test at the end
    index: int
    row: str
    network: NetworkSpec
    left_out: tuple[str, ...]  # component kinds that this architecture has no site for
    hyperparameters: Mapping[str, Value]
    seed: int
    epochs: int
    stop_epoch: int | None
    precision: str  # fp32 or bf16
    channels_last: bool
    checkpoint: str
    checkpoint_every_s: float
    workers: int  # DDP ranks
    cpus: float  # of each worker
    gpus: float  # of each worker; 0: it trains on the CPU
    control: Literal["a/a"] | None = None
    effect: Mapping[str, Value] | None = None  # ledger.EffectOf's fields, of stage "effect" alone

    @property
    def on_validation(self) -> bool:
        """Scored on the validation images, after each epoch; else once on the test images, at the end."""
        return self.scores_on == "validation"

    def as_config(self) -> dict[str, Any]:
        """For Tune's ``config``: one string, so that Tune neither flattens nor copies what is in it."""
        return {"spec": json.dumps(asdict(self))}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "TrialSpec":
        fields = json.loads(config["spec"])
        network, left_out = NetworkSpec(**fields["network"]), tuple(fields["left_out"])
        return cls(**{**fields, "network": network, "left_out": left_out})


@dataclass
class Progress:
    """What the driver has heard of a running trial. ``facts`` is what its process said once: cost, sites, machine."""

    spec: TrialSpec
    started_utc: str
    facts: dict[str, Any] = field(default_factory=dict)
    points: list[dict[str, Any]] = field(default_factory=list)  # ledger.EpochPoint fields
    images: int = 0
    peak_memory_mb: float = 0.0
    reports: int = 0
    retried: list[str] = field(default_factory=list)  # why each retry was made, and from which epoch

    @property
    def retries(self) -> int:
        return len(self.retried)

    @property
    def device_seconds(self) -> float:
        """Seconds of the epochs that were reported, times workers."""
        return round(self.spec.workers * float(sum(point["seconds"] for point in self.points)), 4)


def payload(event: str, **content: Any) -> dict[str, str]:
    """A report from a trial: ``epoch``, ``end`` (perhaps with the last epoch), or ``lost`` (run it again), with what it
    says."""
    return {"payload": json.dumps({"event": event, **content})}


def content(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a report said; None for a result that Tune made itself."""
    text = result.get("payload")
    said: dict[str, Any] | None = json.loads(text) if text else None
    return said
