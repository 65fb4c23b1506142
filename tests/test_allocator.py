"""Freed memory stays with the process: counted in page faults, not in seconds."""

import platform
import subprocess
import sys

import pytest

ROUNDS = """
import resource, sys, torch
from cnnbench.training.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def use():
    torch.zeros(64, 2**20 // 4).add_(1)  # 64 MiB, more than glibc keeps by itself
for _ in range(5):
    use()  # the heap finds its size
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", ROUNDS, how], capture_output=True, text=True, check=True, timeout=240)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt's thresholds")
def test_a_tensor_of_a_later_step_reuses_the_memory_of_an_earlier_one():
    assert page_faults("keep") < page_faults("leave") / 2  # a heap that grew late may still fault in a round or two
