"""Seeds for the parts of one run, so that no two parts draw the same numbers and any of them can be repeated alone."""

import hashlib


def derived_seed(*parts: int | str) -> int:
    """A seed in [0, 2^63) from, for example, (seed, "batches", epoch): the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
