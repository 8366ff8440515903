"""Tear down: let every agent end in good order, kick those that don't, then delete the room; each step verified."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from tui.control.close_session import CLOSE_SESSION, ask_helper, session_closed
from tui.control.delete_room import delete_and_watch
from tui.control.kick import remove_participant
from tui.control.progress import EndedError, Ending
from tui.control.shut_down_job import agents_gone, ask_to_shut_down, delete_dispatch
from tui.control.work import Reply, Work
from tui.gateway.errors import GatewayError
from tui.model.action import Outcome
from tui.model.room import Agent, Dispatch, Participant, SessionState

S = TypeVar("S")
T = TypeVar("T")

_ENDS_ALL = frozenset({Outcome.REFUSED, Outcome.STOPPED})


async def tear_down(work: Work) -> Ending:
    """Close sessions, shut jobs down, kick the agents that are left, delete the room. What is done already is skipped;
    only a refusal or a stop keeps it from the last step.

    Only the agents that the plan named are ended one by one. That one of them can't be is said, and the room's end is
    then its end too.
    """
    await work.recheck()
    here = await work.must_read(work.who_is_there)
    _mention_newcomers(work, here, {agent.participant.sid for agent in work.plan.agents})
    mute = await _close_sessions(work, _still_there(work, here))
    here = await _look_around(work, here)
    await _shut_down_jobs(work, _still_there(work, here), mute)
    here = await _look_around(work, here)
    await _kick_the_rest(work, _still_there(work, here))
    await work.recheck()
    return await delete_and_watch(work)


async def _close_sessions(work: Work, agents: tuple[Agent, ...]) -> frozenset[str]:
    """Close each agent's session; return the SIDs of the agents whose helper is not there to be asked again."""

    async def close(agent: Agent) -> bool:
        if not agent.facts.helper:
            work.progress.say(f"{agent.name}: no helper, so its session is not closed first")
            return False
        if agent.facts.session is SessionState.CLOSED:
            work.progress.say(f"{agent.name}: its session is closed already")
            return True
        try:
            _note(work, await session_closed(work, agent, await ask_helper(work, agent, CLOSE_SESSION, ())))
        except EndedError as ended:
            _note(work, ended.ending)
            return not ended.ending.by_dispatch
        return True

    answering = await _each(close, agents)
    return frozenset(agent.participant.sid for agent, answers in answering if not answers)


async def _shut_down_jobs(work: Work, agents: tuple[Agent, ...], mute: frozenset[str]) -> None:
    """Shut each agent's job down through its helper, else by its dispatch, once each; then see them gone."""
    asked = tuple(agent for agent in agents if agent.facts.helper and agent.participant.sid not in mute)
    others = tuple(agent for agent in agents if agent not in asked)
    dispatches = {agent.dispatch.id: agent.dispatch for agent in others if agent.dispatch is not None}
    for agent in others:
        if agent.dispatch is None:
            work.progress.say(f"{agent.name}: its dispatch is not known, so its job can't be shut down")

    async def ask(agent: Agent) -> Reply[str] | None:
        return await _attempt(work, ask_to_shut_down(work, agent))

    async def delete(dispatch: Dispatch) -> Reply[None] | None:
        return await _attempt(work, delete_dispatch(work, dispatch))

    by_helper = await _each(ask, asked)
    by_dispatch = await _each(delete, dispatches.values())
    ended = [agent for agent, reply in by_helper if reply is not None]
    deleted = {dispatch.id for dispatch, reply in by_dispatch if reply is not None}
    ended += [agent for agent in others if agent.dispatch is not None and agent.dispatch.id in deleted]
    if ended:
        doubts = [reply.doubt for _, reply in (*by_helper, *by_dispatch) if reply is not None and reply.doubt]
        overall: Reply[None] = Reply(doubt=doubts[0] if doubts else "")
        _note(work, await agents_gone(work, tuple(ended), overall, work.patience.agent_gone_s))


async def _kick_the_rest(work: Work, agents: tuple[Agent, ...]) -> None:
    """Cut off the agents that are still there: one that hangs would bring the room back when it wakes."""

    async def cut_off(agent: Agent) -> Reply[None] | None:
        who = agent.participant
        work.progress.checkpoint()
        try:
            here = await work.who_is_there()
        except GatewayError as error:
            work.progress.say(f"{agent.name} is not kicked: who is there could not be read: {error}", Outcome.FAILED)
            return None
        # Once more, and by its SID: whoever has rejoined under its identity since is another one.
        if all(now.sid != who.sid for now in here):
            return None
        return await remove_participant(work, who.identity)

    async def one(agent: Agent) -> None:
        work.progress.say(f"{agent.name} is still there, so it is kicked")
        reply = await _attempt(work, cut_off(agent))
        if reply is not None:
            _note(work, await agents_gone(work, (agent,), reply, work.patience.kicked_s))

    await _each(one, agents)


async def _attempt(work: Work, change: Awaitable[Reply[T] | None]) -> Reply[T] | None:
    try:
        return await change
    except EndedError as ended:
        _note(work, ended.ending)
        return None


async def _each(do: Callable[[S], Awaitable[T]], items: Iterable[S]) -> list[tuple[S, T]]:
    """Do it with all of them at once, and return each with its result. Raises `EndedError` once all have ended."""
    over: list[EndedError] = []
    done: list[tuple[S, T]] = []

    async def one(item: S) -> None:
        try:
            done.append((item, await do(item)))
        except EndedError as ended:
            # Raised here it would cut the others off in mid-call, and come out as a group.
            over.append(ended)

    async with asyncio.TaskGroup() as group:
        for item in items:
            group.create_task(one(item))
    if over:
        raise over[0]
    return done


def _note(work: Work, ending: Ending) -> None:
    """Put the end of one part into the record. Raises `EndedError` if it is the end of all."""
    if ending.outcome in _ENDS_ALL:
        raise EndedError(ending)
    work.progress.say(ending.text, ending.outcome)


def _still_there(work: Work, here: Iterable[Participant]) -> tuple[Agent, ...]:
    """The plan's agents that are still there, each as it is now."""
    now = {who.sid: who for who in here}
    return tuple(
        replace(agent, participant=now[agent.participant.sid])
        for agent in work.plan.agents
        if agent.participant.sid in now
    )


async def _look_around(work: Work, before: tuple[Participant, ...]) -> tuple[Participant, ...]:
    """Who is there now, as far as it can be read."""
    try:
        here = await work.who_is_there()
    except GatewayError as error:
        work.progress.say(f"who is there now could not be read: {error}")
        return before
    _mention_newcomers(work, here, {who.sid for who in before})
    return here


def _mention_newcomers(work: Work, here: Iterable[Participant], known: set[str]) -> None:
    for who in here:
        if who.is_agent and who.sid not in known:
            words = f"the agent {who.identity} ({who.sid}) joined since you looked: it ends with the room"
            work.progress.say(words)
