"""What a Tune function and the workers of its trials say to each other: trials one way, reports the other."""

import asyncio
from typing import Any

Trial = dict[str, Any]


class Mailbox:
    """An actor of Ray's, beside the Tune function. Trials have numbers, from 0; all but the newest are over."""

    def __init__(self, idle_s: float) -> None:
        """``idle_s``: seconds without a trial after which the workers are sent home."""
        self._idle_s = idle_s
        self._trials: list[Trial] = []
        self._is_closed = False
        self._is_called_off = False  # the newest trial
        self._reports: list[dict[str, str]] = []  # of the newest trial
        self._changed = asyncio.Condition()

    async def hand_out(self, trial: Trial) -> bool:
        """Gives the workers their next trial; False if they were sent home before."""
        async with self._changed:
            if not self._is_closed:
                self._trials.append(trial)
                self._is_called_off = False
                self._reports.clear()
                self._changed.notify_all()
            return not self._is_closed

    async def trial(self, number: int) -> Trial | None:
        """What a worker is to do next, as soon as there is something; None: it may go, and so may all others."""
        async with self._changed:
            try:
                async with asyncio.timeout(self._idle_s):
                    await self._changed.wait_for(lambda: self._is_closed or number < len(self._trials))
            except TimeoutError:
                self._is_closed |= number >= len(self._trials)  # one may have come in the last moment
                self._changed.notify_all()
            return None if self._is_closed else self._trials[number]

    async def call_off(self) -> None:
        """Nobody wants to hear of the newest trial any longer."""
        self._is_called_off = True

    async def close(self) -> None:
        """There are no more trials, and nobody wants to hear of the newest any longer: the workers may go."""
        async with self._changed:
            self._is_closed = self._is_called_off = True
            self._changed.notify_all()

    async def report(self, number: int, said: dict[str, str]) -> bool:
        """Takes what a trial has to say; True if nobody wants to hear of it any longer."""
        async with self._changed:
            is_over = self._is_called_off or number < len(self._trials) - 1
            if not is_over:
                self._reports.append(said)
                self._changed.notify_all()
            return is_over

    async def reports(self, wait_s: float) -> list[dict[str, str]]:
        """What the newest trial has said since the last call; waits ``wait_s`` seconds for it, if need be."""
        async with self._changed:
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait_for(lambda: self._reports)
            except TimeoutError:
                return []
            said, self._reports = self._reports, []
            return said
