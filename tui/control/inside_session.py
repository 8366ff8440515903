"""What is done from inside a session that is looked into: silence, deafness, and a line said as the user would.

The agent itself says that it was done: neither LiveKit's lists nor the agent's attributes tell of it. What is said is
not kept: it is one side of a conversation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tui.control.progress import EndedError, Ending
from tui.control.work import Work
from tui.gateway.errors import AgentNotAnsweringError, AgentRefusedError
from tui.gateway.inspector import Inspection
from tui.model.action import Action, Outcome
from tui.model.phrases import count
from tui.model.room import Agent
from tui.model.session import Health


async def switch_audio(work: Work) -> Ending:
    """Switch the agent's audio output or input off, or on again."""
    action = work.plan.action
    on = action in (Action.UNSILENCE_AGENT, Action.UNDEAFEN_AGENT)
    ears = action in (Action.DEAFEN_AGENT, Action.UNDEAFEN_AGENT)
    what = f"audio {'input' if ears else 'output'}"
    agent, inspection = await _looked_into(work)

    async def switch() -> None:
        await inspection.set_audio(hears=on if ears else None, speaks=None if ears else on)

    await _send(work, agent, f"update_io ({what} {'on' if on else 'off'}) to {agent.name}", switch)
    return Ending(Outcome.CONFIRMED, f"confirmed: {agent.name} says that its {what} is {'on' if on else 'off'}")


async def say_to_agent(work: Work) -> Ending:
    """Have the session take a line of text for the user's words."""
    agent, inspection = await _looked_into(work)
    text = work.plan.text
    length = count(len(text), "character")
    await _send(work, agent, f"run_input ({length}) to {agent.name}", lambda: inspection.say(text))
    return Ending(Outcome.CONFIRMED, f"confirmed: {length} stand in {agent.name}'s conversation")


async def _looked_into(work: Work) -> tuple[Agent, Inspection]:
    """The very agent, and the look into its session. Raises `EndedError` (refused) where that is not open, or mute."""
    await work.recheck()
    (agent,) = work.plan.agents
    inspection = work.inspector.of(agent.participant.sid) if work.inspector is not None else None
    if inspection is None:
        raise work.refused(f"{agent.name}'s session is not looked into any more")
    if inspection.view.health is not Health.ANSWERING:
        raise work.refused(f"{agent.name}'s session does not answer, it reads {inspection.view.health}")
    return agent, inspection


async def _send(work: Work, agent: Agent, what: str, change: Callable[[], Awaitable[None]]) -> None:
    async def ask() -> None:
        try:
            await change()
        except AgentNotAnsweringError as error:
            raise EndedError(Ending(Outcome.UNKNOWN, f"{agent.name} was asked, but {error}")) from None
        except AgentRefusedError as error:
            raise EndedError(Ending(Outcome.FAILED, f"{agent.name}: {error}")) from None

    await work.send(what, ask)
