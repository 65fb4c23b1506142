"""Ctrl-C and SIGTERM: a study that is asked to stop loses nothing that is finished."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(Exception):
    """The user asked to stop (Ctrl-C, SIGTERM); everything finished is in the ledger."""


@contextmanager
def interruptible(say: Callable[[str], None]) -> Iterator[threading.Event]:
    """The first Ctrl-C (or SIGTERM) sets the event; the second one ends at once."""
    event = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_signal(number: int, frame: FrameType | None) -> None:
        if event.is_set():
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt
        event.set()
        say("stopping: what is finished is saved; again to stop at once")

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def pause(seconds: float, interrupted: threading.Event) -> None:
    """Waits; raises Interrupted as soon as the user asks to stop."""
    if interrupted.wait(seconds):
        raise Interrupted
