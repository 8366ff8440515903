"""Close session: ask the agent's helper, then wait for the agent to publish that its session is closed."""

from __future__ import annotations

from tui.control.progress import EndedError, Ending
from tui.control.work import Reply, Work
from tui.gateway.errors import AgentNotAnsweringError, AgentRefusedError, MethodUnsupportedError
from tui.model.action import Action, Outcome
from tui.model.room import Agent, SessionState

CLOSE_SESSION = "lk-tui.close_session"
"""The helper's method (docs/helper-protocol.md)."""


async def close_session(work: Work) -> Ending:
    """End the agent's session; the agent and its job stay."""
    await work.recheck()
    (agent,) = work.plan.agents
    reply = await ask_helper(work, agent, CLOSE_SESSION, (Action.SHUT_DOWN_JOB,))
    return await session_closed(work, agent, reply)


async def ask_helper(work: Work, agent: Agent, method: str, offers: tuple[Action, ...]) -> Reply[str]:
    """Ask the agent's helper to do `method`, in the operator's name.

    Raises `EndedError` with `offers` where the agent can't or won't: nothing stronger is ever done instead.
    """

    what = f"PerformRpc {method} to {agent.name}"

    async def ask() -> str:
        try:
            return await work.gateway.call_helper(
                work.target.room, agent.participant.identity, method, work.progress.record.operator
            )
        except MethodUnsupportedError:
            words = f"{agent.name} does not run the lk-tui helper (method not supported): it changed nothing"
            raise EndedError(Ending(Outcome.UNSUPPORTED, words, offers, by_dispatch=True)) from None
        except AgentNotAnsweringError:
            # It was asked: when it wakes it may do it, for as long as the token is good.
            work.progress.changed.append(what)
            words = f"{agent.name} is hung: its process does not answer; if it wakes, it may still do it"
            stronger = (Action.SHUT_DOWN_JOB, Action.KICK)
            raise EndedError(Ending(Outcome.UNKNOWN, words, stronger, by_dispatch=True)) from None
        except AgentRefusedError as error:
            raise EndedError(Ending(Outcome.FAILED, f"{agent.name}: {error}", offers, by_dispatch=True)) from None

    return await work.send(what, ask)


async def session_closed(work: Work, agent: Agent, reply: Reply[str]) -> Ending:
    """Verify from the attributes that the agent publishes; an agent that has left has no session either."""
    reads = SessionState.UNKNOWN

    async def look() -> str | None:
        nonlocal reads
        here = await work.who_is_there()
        now = next((who for who in here if who.sid == agent.participant.sid), None)
        if now is None:
            return f"confirmed: {agent.name} left the list"
        reads = now.agent.session if now.agent is not None else SessionState.UNKNOWN
        return f"confirmed: {agent.name}'s session is closed" if reads is SessionState.CLOSED else None

    patience = work.patience.session_closed_s
    proof = await work.until(look, patience)
    if proof is not None:
        return Ending(Outcome.CONFIRMED, proof + reply.but)
    state = "is still closing" if reads is SessionState.CLOSING else f"was not seen to close, it reads {reads},"
    return work.not_proven(f"{agent.name}'s session {state} after {patience:.0f} s", reply, Action.SHUT_DOWN_JOB)
