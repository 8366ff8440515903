"""Text that strangers choose, wherever it may turn up on the screen: it is shown, and does nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from livekit.protocol import agent as agent_pb
from livekit.protocol import agent_dispatch as dispatch_pb
from livekit.protocol import models as models_pb
from textual.screen import ModalScreen

from tests.build import NOW, agent, dispatch, person, room, snapshot
from tests.dashboard import Dashboard, join, on_demo, on_pictures, open_room, small_world
from tests.hostile import HOSTILE
from tui.gateway import convert
from tui.model.action import Action, ActionRecord, Outcome, Step, Target
from tui.model.room import Participant, Room
from tui.model.snapshot import Failure, FailureKind, Snapshot
from tui.model.text import Name, safe_text
from tui.ui.dialogs import ChooseAgentDialog
from tui.ui.session_screen import SessionScreen


def wired(text: str, *, session: str = "open") -> Room:
    """A room as it comes over the wire, with this text in every place that a stranger can write to."""
    said = {"reason": text, "at": NOW - 9, "by": text, "error": {"type": text, "source": text, "message": text}}
    track = models_pb.TrackInfo(sid=f"TR_{text}", type=models_pb.TrackType.AUDIO, name=text)
    common: dict[str, Any] = {"name": text, "metadata": text, "tracks": [track], "joined_at": int(NOW - 60)}
    person = models_pb.ParticipantInfo(sid="PA_1", identity=text, attributes={text: text, "key": text}, **common)
    agent = models_pb.ParticipantInfo(
        sid="PA_2",
        identity=f"agent-{text}",
        kind=models_pb.ParticipantInfo.AGENT,
        attributes={
            "lk.agent.name": text,
            "lk.agent.state": text,
            "lk-tui.helper": text,
            "lk-tui.session": session,
            **({"lk-tui.close": json.dumps(said), "lk-tui.shutdown": json.dumps(said)} if session == "closed" else {}),
        },
        **common,
    )
    job = agent_pb.Job(
        id=f"AJ_{text}",
        state=agent_pb.JobState(participant_identity=agent.identity, worker_id=f"AW_{text}", error=text),
    )
    order = dispatch_pb.AgentDispatch(
        id=f"AD_{text}", agent_name=text, metadata=text, state=dispatch_pb.AgentDispatchState(jobs=[job])
    )
    listed = models_pb.Room(sid="RM_1", name=text, metadata=text, creation_time=int(NOW - 300))
    return replace(
        convert.room(listed),
        participants=(convert.participant(person), convert.participant(agent)),
        checked_at=NOW,
        dispatches=(convert.dispatch(order),),
        dispatches_at=NOW,
        trouble=safe_text(text),
    )


def pictures(text: str) -> tuple[Snapshot, Snapshot, Snapshot]:
    """The agent at work, its session closed, and the agent gone."""
    closed = wired(text, session="closed")
    left: tuple[Participant, ...] = tuple(who for who in closed.participants or () if not who.is_agent)
    return (
        snapshot(wired(text)),
        snapshot(closed, number=2, at=NOW + 1),
        snapshot(replace(closed, participants=left), number=3, at=NOW + 2),
    )


async def opened(shown: Dashboard, *keys: str) -> None:
    """Press keys that open a dialog or a session; it and all behind it must be harmless. Then close it."""
    await shown.press(*keys)
    await shown.wait_for(lambda: isinstance(shown.screen, ModalScreen | SessionScreen))
    await shown.pilot.pause()
    shown.assert_harmless()
    await shown.press("escape")
    await shown.wait_for(lambda: shown.app.screen_stack == [shown.main])


@pytest.mark.parametrize(
    ("text", "size"),
    [*((text, (120, 60)) for text in HOSTILE.values()), (HOSTILE["long and wide"], (80, 24))],
    ids=[*HOSTILE, "long on a small screen"],
)
async def test_a_name_is_shown_in_every_pane_and_dialog_and_does_nothing(text: str, size: tuple[int, int]) -> None:
    at_work, closed, gone = pictures(text)
    async with on_pictures(at_work, size=size) as shown:
        shown.assert_harmless()
        for key in "DT":
            await opened(shown, key)
        await shown.press("a")
        await shown.wait_for(lambda: isinstance(shown.screen, ChooseAgentDialog) and shown.focused == "names")
        shown.assert_harmless()
        await shown.press("enter")
        assert (await shown.asked()).plan.agent_name == text
        shown.assert_harmless()
        await shown.press("escape")
        await shown.press("enter")
        for key in ("enter", "K"):
            await opened(shown, key)
        await shown.press("G")
        for key in ("c", "x", "K", "enter"):
            await opened(shown, key)
        await shown.show(closed)
        await opened(shown, "enter")
        await shown.show(replace(gone, failure=Failure(FailureKind.SERVER, safe_text(text))))
        await shown.show(gone)
        await shown.tell(told(text))
        await shown.press("escape", "shift+tab", "G")
        shown.assert_harmless()
        for keys in (["enter"], ["k", "enter"]):
            await opened(shown, *keys)
        assert shown.main.rooms.selected_key == "RM_1"
        assert not shown.app.return_code


async def test_what_is_not_unicode_does_no_harm_either() -> None:
    odd = "lone \ud83d surrogate"
    who = person(odd, sid="PA_1", name=safe_text(odd), attributes={safe_text(odd): safe_text(odd)})
    orders = (dispatch(odd, "agent-1"),)
    async with on_pictures(snapshot(room(odd, who, agent("agent-1"), sid="RM_1", dispatches=orders))) as shown:
        for key in "DTa":
            await opened(shown, key)
        await shown.press("y", "enter", "y")
        await opened(shown, "enter")
        await opened(shown, "K")
        await shown.tell(told(odd))
        await shown.press("slash")
        await shown.type("lone")
        assert shown.room_names == [odd]
        shown.assert_harmless()


# The right thing is hit


async def test_of_two_rooms_that_look_alike_the_selected_one_is_deleted() -> None:
    world = small_world()
    names = ("support", "support\u200b", "support\x1b[0m", "suppo\u202ert")
    rooms = {name: open_room(world, name, "ann", agents=["nobody-of-this-name"]) for name in names}
    async with on_demo(world) as shown:
        assert sorted(shown.room_names) == sorted(names)
        shown.main.rooms.select(rooms["support\u200b"].info.sid)
        await shown.confirm("D")
        await shown.wait_for(lambda: len(world.rooms()) == 3)
        assert {room.name for room in world.rooms()} == set(names) - {"support\u200b"}
        await shown.wait_for("support\\u200b is gone")
        shown.assert_harmless()


async def test_whoever_is_called_so_is_kicked_and_nobody_else() -> None:
    world = small_world()
    people = [HOSTILE[name] for name in ("markup", "escape sequences", "line breaks", "long and wide")]
    here = open_room(world, "alpha", agents=["nobody-of-this-name"])
    for text in people:
        join(world, here, text, name=text, attributes={text: text})
    async with on_demo(world) as shown:
        await shown.press("enter")
        for text in people:
            who = here.participants[text]
            shown.main.participants.select(who.sid)
            await shown.confirm("K")
            await shown.wait_for(partial(getattr, who, "gone"))
            await shown.press("S")
            await shown.wait_for(lambda: shown.app.records[-1].outcome is Outcome.STOPPED)
            shown.assert_harmless()
            assert [left.identity for left in here.people] == people[people.index(text) + 1 :]


def told(text: str) -> ActionRecord:
    """An action on the room and person of this name, that failed with words of a stranger's."""
    target = Target(Name.of(text), "RM_1", Name.of(text), "PA_1", safe_text(text))
    steps = (Step(NOW, safe_text(text)), Step(NOW, safe_text(text), Outcome.FAILED))
    return ActionRecord(1, Action.KICK, target, "mira", NOW, steps, Outcome.FAILED, True, (Action.KICK,))
