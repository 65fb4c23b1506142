"""In every Python process that has this folder in its PYTHONPATH, the clock jumps by a day every two seconds."""

import time

_time, _time_ns = time.time, time.time_ns
JUMPS_S = (0, 86_400, -86_400)


def _jump() -> int:
    return JUMPS_S[int(time.monotonic() // 2) % 3]


time.time = lambda: _time() + _jump()
time.time_ns = lambda: _time_ns() + _jump() * 10**9
