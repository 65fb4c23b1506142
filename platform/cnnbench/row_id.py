"""The id of a leaderboard row: a short hash of everything that made it, and of nothing that came out of it."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from cnnbench.ledger import TrialRecord

DIGITS = 12  # hexadecimal: 48 bits


def row_id(finals: Iterable[TrialRecord]) -> str | None:
    """The id of the row with these finals: 12 hexadecimal digits, over study, row, configuration, seeds, checksums of
    data and split, commit, and the machine's kind and versions. Only completed finals count; None if there is none.

    Two rows of one id are the same experiment. Any other seed, version or image makes another id; results don't.
    """
    facts = [_facts(final) for final in finals if final.status == "completed"]
    if not facts:
        return None
    text = json.dumps(sorted(facts, key=lambda fact: fact["seed"]), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def _facts(final: TrialRecord) -> dict[str, Any]:
    """Named one by one, so that a field that a later ledger adds changes no id."""
    split, machine = final.split, final.machine
    return {
        **{name: getattr(final, name) for name in ("study", "row", "architecture", "control", "seed", "commit")},
        "options": dict(final.options),
        "components": {kind: use.value for kind, use in final.components.items()},
        "hyperparameters": dict(final.hyperparameters),
        "epochs": [final.budget.epochs_asked, final.stop_epoch],
        "data": [split.dataset, split.data_checksum, split.split_checksum, split.train, split.test],
        "machine": [machine.device, machine.workers, machine.precision, machine.channels_last, machine.python],
        "versions": dict(machine.versions),
    }
