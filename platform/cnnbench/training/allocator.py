"""Memory that the C library keeps, so that every step's tensors need not be paged in anew."""

import ctypes
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


@cache
def keep_freed_memory() -> bool:
    """For the rest of this process, freed tensors of up to 1 GiB stay with it and are used again; by default glibc
    gives each large one back to the system, and training on a CPU spends its time on page faults. True if it took
    effect; without glibc nothing happens. The process holds on to the most memory that it has used."""
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 1 << 30)) and bool(mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1))
