"""Dispatch an agent: order one into the room, and see that very one come."""

from __future__ import annotations

from functools import partial

from tui.control.progress import Ending
from tui.control.work import Work, seconds_now, took
from tui.model.action import Outcome
from tui.model.room import Dispatch, Participant


async def dispatch_agent(work: Work) -> Ending:
    """CreateDispatch, proven by its agent joining: a dispatch that finds no worker stays without a job for ever."""
    before = {who.sid for who in await work.must_read(work.who_is_there)}
    await work.recheck()
    name = work.plan.agent_name
    reply = await work.send("CreateDispatch", partial(work.gateway.create_dispatch, work.target.room, name))
    sent_at = seconds_now()
    others: list[Participant] = []

    async def joined() -> Participant | None:
        others[:] = [who for who in await work.who_is_there() if who.is_agent and who.sid not in before]
        of_the_name = next((who for who in others if who.agent is not None and who.agent.name == safe_name), None)
        if of_the_name is not None or not others or reply.value is None:
            return of_the_name
        return await _of_the_dispatch(work, reply.value, others)

    safe_name = work.target.agent_name if name else ""
    patience = work.patience.dispatched_s
    agent = await work.until(joined, patience)
    if agent is not None:
        after = took(seconds_now() - sent_at)
        words = f"confirmed: an agent joined as {agent.identity} ({agent.sid}) after {after}"
        return Ending(Outcome.CONFIRMED, words + reply.but)
    if others:
        whose = f"{others[0].identity} ({others[0].sid}) joined, and was not seen to be the agent that was ordered"
        return work.not_proven(whose, reply)
    if reply.value is None or work.unread:
        return work.not_proven(f"no agent seen to join within {patience:.0f} s", reply)
    whose = f"of the name {work.target.agent_name}" if name else "without an agent name"
    words = (
        f"no agent joined within {patience:.0f} s; the dispatch {reply.value.id} stays: is a worker {whose} running?"
    )
    return Ending(Outcome.FAILED, words)


async def _of_the_dispatch(work: Work, ordered: Dispatch, joined: list[Participant]) -> Participant | None:
    """Which of those has the dispatch's job. Agents need not publish a name, and LiveKit lists jobs up to 5 s late."""
    for dispatch in await work.gateway.list_dispatches(work.target.room):
        if dispatch.id == ordered.id:
            theirs = {job.identity.raw for job in dispatch.jobs}
            return next((who for who in joined if who.identity.raw in theirs), None)
    return None
