"""A screen with a heart monitor: runs in a terminal, and answers questions about itself over a socket.

python -m bench.inside SOCKET lk-tui|DataTable ARGUMENTS
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Sequence
from typing import Any, Protocol

from textual.geometry import Region

from bench import product
from bench.child import Answer
from bench.heartbeat import Heartbeat
from tui.model.room import Room
from tui.model.snapshot import Snapshot


class Shown(Protocol):
    """What is asked of a screen: see `bench.product.Dashboard`."""

    @property
    def picture(self) -> Snapshot: ...
    @property
    def area(self) -> Region: ...
    @property
    def name_at(self) -> int: ...
    @property
    def log_pane(self) -> Region: ...
    @property
    def on_screen(self) -> Sequence[Room]: ...
    def poll_now(self) -> None: ...


class Monitor:
    """Answers, on the screen's own event loop. Each answer is one JSON object a line, as is each question."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone: dict[str, float | None] = {}
        self._hurrying = False

    def attach(self, shown: Shown) -> None:
        """Begin: the screen's loop runs."""
        self._shown = shown
        self._heart = Heartbeat(lambda: shown.picture.number)
        self._start(self._answer())

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self) -> None:
        self._control.settimeout(0.0)
        reader, writer = await asyncio.open_connection(sock=self._control)
        while line := await reader.readline():
            question = json.loads(line)
            writer.write(json.dumps(getattr(self, question.pop("do"))(**question)).encode() + b"\n")

    # The questions

    def state(self) -> Answer:
        """How far it has got."""
        rooms = self._shown.picture.rooms
        return {"number": self._shown.picture.number, "rooms": len(rooms), "read": product.read_rooms(rooms)}

    def places(self) -> Answer:
        """Where things are on the screen: regions as x, y, width, height; columns and rows in cells."""
        return {"area": list(self._shown.area), "log": list(self._shown.log_pane), "name_at": self._shown.name_at}

    def hurry(self) -> Answer:
        """Poll without a pause until `settle`."""
        self._hurrying = True
        self._start(self._poll_on())
        return {}

    def settle(self, budget: int) -> Answer:
        """From now on, so many requests a minute."""
        self._hurrying = False
        product.settle(budget)
        return {}

    def begin(self) -> Answer:
        """Measure the loop from now on."""
        self._heart.begin()
        return {}

    def end(self) -> Answer:
        """How it went since `begin`: see `bench.heartbeat`."""
        return {"blocks": self._heart.blocks, "cpu_s": self._heart.cpu_s}

    def served(self, on_screen: bool) -> Answer:  # noqa: FBT001 - by name in JSON
        """Rooms with just one agent, well known: their names and SIDs, and the agent's."""
        rooms = self._shown.on_screen if on_screen else self._hidden()
        found = [(room, room.agents[0]) for room in rooms if len(room.agents) == 1 and not room.name.altered]
        return {"rooms": [[room.name.raw, room.sid, agent.participant.sid, agent.name] for room, agent in found[:20]]}

    def watch(self, room_sid: str, participant_sid: str) -> Answer:
        """Look out for this participant's absence."""
        self._start(self._look_out(room_sid, participant_sid))
        return {}

    def seen(self) -> Answer:
        """When each that is looked out for was found absent, by participant; None where its room went."""
        return {"gone": self._gone}

    async def _poll_on(self) -> None:
        while self._hurrying:
            self._shown.poll_now()
            await asyncio.sleep(0.1)

    def _hidden(self) -> Sequence[Room]:
        on_screen = {room.sid for room in self._shown.on_screen}
        hidden = [room for sid, room in self._shown.picture.rooms.items() if sid not in on_screen]
        # Not the oldest ones: they are about to end anyway.
        return hidden[len(hidden) // 2 :: max(1, len(hidden) // 200)]

    async def _look_out(self, room_sid: str, participant_sid: str) -> None:
        self._gone[participant_sid] = await product.gone(lambda: self._shown.picture, room_sid, participant_sid)


def main() -> None:
    """Open what is asked for, until it is killed."""
    number, screen, *arguments = sys.argv[1:]
    monitor = Monitor(socket.socket(fileno=int(number)))
    if screen == "lk-tui":
        product.open_dashboard(arguments, monitor.attach)
    else:
        from bench.data_table import open_table

        open_table(arguments, monitor.attach)


if __name__ == "__main__":
    main()
