"""Shut down job: ask the helper to end just this job, or delete the dispatch, which ends all its jobs."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from tui.control.close_session import ask_helper
from tui.control.progress import Ending
from tui.control.work import Reply, Work
from tui.model.action import Action, Outcome
from tui.model.room import Agent, Dispatch, Participant

SHUT_DOWN_JOB = "lk-tui.shut_down_job"
"""The helper's method (docs/helper-protocol.md)."""


async def shut_down_job(work: Work) -> Ending:
    """End the agent's job, in the way that the plan named; never in the other one."""
    await work.recheck()
    if work.plan.dispatch is None:
        (agent,) = work.plan.agents
        reply: Reply[str] | Reply[None] = await ask_to_shut_down(work, agent)
    elif await _has_same_jobs(work, work.plan.dispatch):
        reply = await delete_dispatch(work, work.plan.dispatch)
    else:
        return await _gone_by_itself(work, work.plan.dispatch)
    return await agents_gone(work, work.plan.agents, reply, work.patience.agent_gone_s)


async def ask_to_shut_down(work: Work, agent: Agent) -> Reply[str]:
    """Have the helper call `ctx.shutdown()`. Raises `EndedError` as `ask_helper` does."""
    return await ask_helper(work, agent, SHUT_DOWN_JOB, (Action.SHUT_DOWN_JOB, Action.KICK))


async def delete_dispatch(work: Work, dispatch: Dispatch) -> Reply[None]:
    """DeleteDispatch; it takes 3 s and more for every job that hangs."""
    return await work.send(
        f"DeleteDispatch {dispatch.id}", partial(work.gateway.delete_dispatch, work.target.room, dispatch.id)
    )


async def agents_gone(work: Work, agents: tuple[Agent, ...], reply: Reply[object], patience: float) -> Ending:
    """Verify, for `patience` seconds, that these agents are gone from the room."""
    staying: tuple[Agent, ...] = agents

    async def look() -> tuple[Participant, ...] | None:
        nonlocal staying
        here = await work.who_is_there()
        sids = {who.sid for who in here}
        staying = tuple(agent for agent in agents if agent.participant.sid in sids)
        return None if staying else here

    here = await work.until(look, patience)
    if here is not None:
        return Ending(Outcome.CONFIRMED, f"confirmed: {names(agents)} left the list{reply.but}", remedy(here))
    return work.not_proven(f"{names(staying)} not seen to leave within {patience:.0f} s", reply, Action.KICK)


async def _has_same_jobs(work: Work, dispatch: Dispatch) -> bool:
    """Whether the dispatch is still there. Raises `EndedError` (refused) if its jobs aren't those the plan named."""
    listed = await work.must_read(partial(work.gateway.list_dispatches, work.target.room))
    now = next((order for order in listed if order.id == dispatch.id), None)
    if now is None:
        return False
    was, are = {job.id for job in dispatch.jobs}, {job.id for job in now.jobs}
    if was != are:
        changes = [f"{job} is new" for job in sorted(are - was)] + [f"{job} is gone" for job in sorted(was - are)]
        raise work.refused(f"the jobs of {dispatch.id} changed since you looked ({', '.join(changes)})")
    work.progress.say(f"re-checked: {dispatch.id} still has the jobs {', '.join(sorted(are))}")
    return True


async def _gone_by_itself(work: Work, dispatch: Dispatch) -> Ending:
    """Somebody else deleted the dispatch: its agents are about to leave, or never will."""
    work.progress.say(f"the dispatch {dispatch.id} is gone already, nothing was sent; watching its agents leave")
    missing: Reply[None] = Reply(missing=True)
    ending = await agents_gone(work, work.plan.agents, missing, work.patience.agent_gone_s)
    if ending.outcome is Outcome.CONFIRMED:
        return ending
    why = f"the dispatch {dispatch.id} is gone, and {ending.text}"
    raise work.refused(why, Action.KICK)


def names(agents: Iterable[Agent]) -> str:
    """The agents by name."""
    return ", ".join(agent.name for agent in agents)


def remedy(here: Iterable[Participant]) -> tuple[Action, ...]:
    """What to offer once an agent is gone: another one, if people are left without any."""
    present = tuple(here)
    waiting = any(who.is_person for who in present) and not any(who.is_agent for who in present)
    return (Action.DISPATCH_AGENT,) if waiting else ()
