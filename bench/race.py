"""The time in which nobody looks: between the last re-check of a target, and the server's act on its name."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from livekit import api

from bench.figures import Figure, quantile
from bench.lengths import Lengths
from tests.lab.people import join
from tests.lab.server import LabServer
from tui.control.control import Control
from tui.control.plan import plan
from tui.gateway.client import Gateway
from tui.model.action import Action, Outcome
from tui.model.patience import Patience
from tui.model.room import Participant, Room
from tui.model.secret import Secret
from tui.model.text import Name

PART = "livekit-server, from the re-check to the act"
_HASTE = Patience(kicked_s=0.2, watch_name_s=0.0)


class _Watched(Gateway):
    """Notes how long it is from the latest look at the lists to the answer to a change."""

    def __init__(self, lab: LabServer) -> None:
        super().__init__(lab.url, lab.api_key, Secret(lab.api_secret))
        self.blind_ms: list[float] = []
        self._looked = 0.0

    async def list_rooms(self, names: Iterable[str] = ()) -> tuple[Room, ...]:
        # The lists are what they were when the server was asked, at the earliest.
        self._looked = time.perf_counter()
        return await super().list_rooms(names)

    async def list_participants(self, room: Name) -> tuple[Participant, ...]:
        self._looked = time.perf_counter()
        return await super().list_participants(room)

    async def delete_room(self, room: Name) -> None:
        await super().delete_room(room)
        self.blind_ms.append((time.perf_counter() - self._looked) * 1e3)

    async def remove_participant(self, room: Name, identity: Name) -> None:
        await super().remove_participant(room, identity)
        self.blind_ms.append((time.perf_counter() - self._looked) * 1e3)


def measure(lengths: Lengths) -> Iterator[Figure]:
    """Rooms deleted and people kicked one after the other; from asking for the lists to the answer to the change."""
    with tempfile.TemporaryDirectory() as folder, LabServer(Path(folder)) as lab:
        for action in (Action.DELETE_ROOM, Action.KICK):
            blind = asyncio.run(_blind_ms(lab, action, lengths.races))
            note = f"{len(blind)} of them"
            yield Figure(
                PART, f"{action.value}: asked for the lists → done, p50", quantile(blind, 0.5), "ms", note=note
            )
            yield Figure(PART, f"{action.value}: asked for the lists → done, worst", max(blind), "ms")


async def _blind_ms(lab: LabServer, action: Action, times: int) -> list[float]:
    async with _Watched(lab) as gateway, lab.client() as livekit:
        control = Control(gateway, "bench", lambda _: None, patience=_HASTE)
        for number in range(times):
            name = f"race-{number}"
            await livekit.room.create_room(api.CreateRoomRequest(name=name))
            if action is Action.KICK:
                async with await join(lab, name, "ann"):
                    await _act(gateway, control, action, name)
            else:
                await _act(gateway, control, action, name)
        return gateway.blind_ms


async def _act(gateway: Gateway, control: Control, action: Action, name: str) -> None:
    (found,) = await gateway.list_rooms([name])
    here = await gateway.list_participants(found.name)
    room = Room(found.sid, found.name, found.created_at, participants=here)
    record = await control.carry_out(plan(action, room, here[0].sid if here else None, time.time()))
    if record.outcome is not Outcome.CONFIRMED:
        raise RuntimeError(f"{action.value} of {name}: {record.last}")
