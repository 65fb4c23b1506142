"""Small records of stage "effect" for tests of what reads a ledger."""

from typing import Any

from cnnbench.ledger import EffectOf, TrialRecord
from ledger_rows import final, scored, trial


def measured(
    row: str, value: Any, seed: int, accuracy: float, component: str = "activation", **changes: Any
) -> TrialRecord:
    """A measured effect; ``accuracy`` of 100 test images."""
    return final(row, seed, accuracy, **_swap(row, component, value, f"{seed}", "measured", **changes))


def tuning(
    row: str, value: Any, factor: float, score: float | None, component: str = "activation", **changes: Any
) -> TrialRecord:
    """A training at ``factor`` times the tuned learning rate."""
    return trial(row, 0, score, **_swap(row, component, value, f"lr{factor}", "tuning", lr_factor=factor, **changes))


def _swap(row: str, component: str, value: Any, last: str, phase: Any, **changes: Any) -> dict[str, Any]:
    facts = {"instead_of": "relu", "lr_factor": 1.0}
    facts |= {name: changes.pop(name) for name in tuple(facts) if name in changes}
    effect = EffectOf(component=component, value=value, phase=phase, **facts)
    return {"stage": "effect", "trial_id": f"{row}-effect-{component}-{value}-{last}", "effect": effect, **changes}


def failed(row: str, value: Any, seed: int, status: str = "diverged", component: str = "activation") -> TrialRecord:
    """A measured effect without a result."""
    return measured(row, value, seed, 0.0, component, status=status, test=None)


def invented_effects(rows: list[str], chance: Any, study: str) -> list[TrialRecord]:
    """Effects of lifelike figures around finals of 97 %, to look at."""
    found = []
    for row in rows:
        own = chance.choice(["relu", "silu"])
        for component, values in _INVENTED.items():
            for value, effect in values.items():
                instead_of = own if component == "activation" else next(iter(values))
                if value == instead_of or chance.random() < 0.05:
                    continue
                of_row = effect + chance.gauss(0, 0.002)
                for seed in range(1000, 1006):
                    reached = min(0.999, 0.97 + of_row + chance.gauss(0, 0.002))
                    record = measured(row, value, seed, 0.0, component, instead_of=instead_of, study=study)
                    found.append(record.model_copy(update={"test": scored(reached, images=10_000)}))
    return found


_INVENTED: dict[str, dict[Any, float]] = {
    "activation": {"relu": 0.0, "silu": 0.001, "gelu": 0.001, "mish": 0.002, "tanh": -0.012, "hardswish": -0.002},
    "normalization": {"batch": 0.0, "group": -0.006, "layer": -0.009, "none": -0.06},
    "label_smoothing": {0.0: 0.0, 0.1: 0.001},
    "dropout": {"original": 0.0, 0.2: 0.0, 0.5: -0.004},
    "schedule": {"warmup_cosine": 0.0, "one_cycle": 0.001, "constant": -0.02, "multi_step": -0.003},
}
