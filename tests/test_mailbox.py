"""What a Tune function and the ranks of its trials say to each other, without Ray."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cnnbench.distributed.mailbox import Mailbox

SAID = {"payload": "an epoch"}


def played(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """In a thread of its own: a browser's test leaves its event loop running in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def test_every_rank_gets_every_trial_in_its_order():
    async def play() -> list[Any]:
        mailbox = Mailbox(idle_s=60)
        waiting = [asyncio.create_task(mailbox.trial(0)) for _ in range(2)]
        await asyncio.sleep(0.01)
        assert await mailbox.hand_out({"spec": "a"}) and await mailbox.hand_out({"spec": "b"})
        return [*await asyncio.gather(*waiting), await mailbox.trial(1), await mailbox.trial(0)]

    assert [trial["spec"] for trial in played(play())] == ["a", "a", "b", "a"]


def test_ranks_without_a_trial_go_all_together_and_none_is_handed_out_to_them():
    async def play() -> tuple[Any, ...]:
        mailbox = Mailbox(idle_s=0.05)
        late = asyncio.create_task(mailbox.trial(0))
        await asyncio.sleep(0.03)
        both = await asyncio.gather(late, mailbox.trial(0))
        return *both, await mailbox.hand_out({"spec": "a"}), await mailbox.trial(0)

    assert played(play()) == (None, None, False, None)


def test_reports_are_heard_in_order_and_waited_for():
    async def play() -> list[Any]:
        mailbox = Mailbox(idle_s=60)
        await mailbox.hand_out({})
        assert await mailbox.reports(0.01) == []
        heard = asyncio.create_task(mailbox.reports(60))
        await asyncio.sleep(0.01)
        assert not await mailbox.report(0, {"payload": "1"})
        first = await heard
        assert not await mailbox.report(0, {"payload": "2"}) and not await mailbox.report(0, {"payload": "3"})
        return [*first, *await mailbox.reports(60)]

    assert [said["payload"] for said in played(play())] == ["1", "2", "3"]


def test_a_trial_that_was_called_off_is_told_so_and_not_heard():
    async def play() -> None:
        mailbox = Mailbox(idle_s=60)
        await mailbox.hand_out({})
        await mailbox.call_off()
        assert await mailbox.report(0, SAID)
        assert await mailbox.reports(0.01) == []
        await mailbox.hand_out({})
        assert await mailbox.report(0, SAID), "it is over, though nobody called off the one after it"
        assert not await mailbox.report(1, SAID)
        assert await mailbox.reports(60) == [SAID]

    played(play())


def test_a_closed_one_sends_the_ranks_home_at_once():
    async def play() -> tuple[Any, ...]:
        mailbox = Mailbox(idle_s=60)
        await mailbox.hand_out({})
        waiting = asyncio.create_task(mailbox.trial(1))
        await asyncio.sleep(0.01)
        await mailbox.close()
        return await waiting, await mailbox.report(0, SAID), await mailbox.hand_out({})

    assert played(play()) == (None, True, False)
