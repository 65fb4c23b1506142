"""From beginning to end: a study, its effects, a row's reproduction; and whether a ledger may go on."""

from cnnbench.distributed.interruption import Interrupted

__all__ = ["Interrupted"]
