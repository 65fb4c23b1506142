"""From beginning to end: a study, its effects, a row's reproduction; and whether a ledger may go on."""
