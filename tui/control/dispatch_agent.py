"""Dispatch an agent: order one into the room, and see one come."""

from __future__ import annotations

from functools import partial

from tui.control.progress import Ending
from tui.control.work import Work, seconds_now, took
from tui.model.action import Outcome
from tui.model.room import Participant


async def dispatch_agent(work: Work) -> Ending:
    """CreateDispatch, proven by an agent that joins: a dispatch that finds no worker stays without a job for ever."""
    before = {who.sid for who in await work.must_read(work.who_is_there)}
    await work.recheck()
    name = work.plan.agent_name
    reply = await work.send("CreateDispatch", partial(work.gateway.create_dispatch, work.target.room, name))
    sent_at = seconds_now()

    async def joined() -> Participant | None:
        here = await work.who_is_there()
        return next((who for who in here if who.is_agent and who.sid not in before), None)

    patience = work.patience.dispatched_s
    agent = await work.until(joined, patience)
    if agent is not None:
        after = took(seconds_now() - sent_at)
        words = f"confirmed: an agent joined as {agent.identity} ({agent.sid}) after {after}"
        return Ending(Outcome.CONFIRMED, words + reply.but)
    if reply.value is None or work.unread:
        return work.not_proven(f"no agent seen to join within {patience:.0f} s", reply)
    whose = f"of the name {work.target.agent_name}" if name else "without an agent name"
    words = (
        f"no agent joined within {patience:.0f} s; the dispatch {reply.value.id} stays: is a worker {whose} running?"
    )
    return Ending(Outcome.FAILED, words)
