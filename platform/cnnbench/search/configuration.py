"""A configuration in its two forms: the values that a search proposes, and what the ledger says of them.

A component is named in the ledger only where it stands in the network: the architecture's own is not.
"""

from collections.abc import Mapping

from cnnbench.components.kinds import KINDS
from cnnbench.ledger import TrialRecord
from cnnbench.study.space import Space, walk
from cnnbench.training.recipe import KNOBS, effective
from cnnbench.trial.spec import Value
from cnnbench.vocabulary import ORIGINAL


def put_in(values: Mapping[str, Value]) -> dict[str, str | float]:
    """Of ``values``, the components that replace the architecture's own."""
    return {kind: value for kind, value in values.items() if kind in KINDS and value not in (None, ORIGINAL)}


def hyperparameters(values: Mapping[str, Value]) -> dict[str, Value]:
    """Every hyperparameter that has an effect under ``values``, theirs or its default."""
    return effective({name: value for name, value in values.items() if name in KNOBS})


def record_values(record: TrialRecord) -> dict[str, Value]:
    """A record's configuration, less the components that the architecture has itself."""
    components = {kind: use.value for kind, use in record.components.items()}
    return {**record.hyperparameters, **components}


def proposed_values(record: TrialRecord, space: Space) -> dict[str, Value]:
    """What a search over ``space`` had proposed for a record: its configuration, and ORIGINAL for every component of
    the space that the record does not name."""
    own: dict[str, Value] = {name: ORIGINAL for name, _, _ in walk(space) if name in KINDS}
    return {**own, **record_values(record)}
