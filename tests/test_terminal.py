"""The dashboard as a person runs it: the installed program in a real terminal, on the real server with real agents."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from livekit import api
from livekit.protocol import models as models_pb

from tests.lab.people import join
from tests.lab.server import LabServer
from tests.lab.waiting import eventually
from tests.lab.worker import LabWorker
from tests.terminal import (
    CTRL_C,
    CTRL_P,
    DOWN,
    END,
    ENTER,
    ESCAPE,
    HIDE_CURSOR,
    INTO_ALTERNATE_SCREEN,
    LK_TUI,
    OUT_OF_ALTERNATE_SCREEN,
    RIGHT,
    SHOW_CURSOR,
    TAB,
    Terminal,
    clean_environment,
)

OPERATOR = "mira"


def environment(server: LabServer, home: Path, **more: str) -> dict[str, str]:
    """What a person has set to reach the server."""
    return clean_environment(home, **server.variables, **more)


@asynccontextmanager
async def dashboard(
    server: LabServer,
    home: Path,
    *options: str,
    columns: int = 120,
    rows: int = 40,
    variables: Mapping[str, str] | None = None,
) -> AsyncIterator[Terminal]:
    """The dashboard on this server, with its first picture drawn; `variables` are added to its environment."""
    argv = [LK_TUI, "--interval", "0.5", "--operator", OPERATOR, *options]
    async with Terminal(
        argv, environment=environment(server, home, **variables or {}), cwd=home, columns=columns, rows=rows
    ) as terminal:
        await terminal.wait_for("● live")
        yield terminal


@asynccontextmanager
async def demo(home: Path, *options: str, columns: int = 120, rows: int = 40) -> AsyncIterator[Terminal]:
    """The demo, always with the same rooms, with its first picture drawn."""
    argv = [LK_TUI, "demo", "--seed", "7", *options]
    async with Terminal(argv, environment=clean_environment(home), cwd=home, columns=columns, rows=rows) as terminal:
        await terminal.wait_for("40 rooms")
        yield terminal


async def select(terminal: Terminal, room: str) -> None:
    """Filter for the room, and go back to the table, where it is selected."""
    await narrow(terminal, room)
    await terminal.press(ENTER, room[:10])
    await terminal.wait_for(f"{room} · RM_")


async def narrow(terminal: Terminal, words: str) -> None:
    """Type into the filter line."""
    terminal.send("/")
    await terminal.wait_for("words to filter by")
    terminal.send(words)
    await terminal.wait_for(lambda: words in [line.strip("│ ") for line in terminal.lines])


async def ask(terminal: Terminal, key: str, *said: str) -> None:
    """Press an action's key, and see its dialog say all of that."""
    terminal.send(key)
    for words in ("As seen", "Cancel", *said):
        await terminal.wait_for(words)


async def confirm(terminal: Terminal, key: str, *said: str) -> None:
    """Press an action's key, see its dialog say all of that, step from Cancel to the other button, press it."""
    await ask(terminal, key, *said)
    await terminal.press(RIGHT, "Cancel")
    terminal.send(ENTER)
    await terminal.wait_for(lambda: "As seen" not in terminal.text)


async def go_back(terminal: Terminal, gone: str) -> None:
    """Press Esc, and wait until that is not seen any more: with the next key right behind, Esc would be Alt."""
    terminal.send(ESCAPE)
    await terminal.wait_for(lambda: gone not in terminal.text)


async def leave(terminal: Terminal) -> None:
    """Quit: nothing but the screen's own updates was ever written, and the terminal is as it was."""
    terminal.send("q")
    assert await terminal.exit_code() == 0
    assert terminal.strays == b""
    assert_restored(terminal)


def assert_restored(terminal: Terminal) -> None:
    """The alternate screen is left, the cursor is seen, the mouse and pasting are the terminal's own again."""
    raw = terminal.raw
    for off, on in (
        (OUT_OF_ALTERNATE_SCREEN, INTO_ALTERNATE_SCREEN),
        (SHOW_CURSOR, HIDE_CURSOR),
        (b"\x1b[?1003l", b"\x1b[?1003h"),
        (b"\x1b[?2004l", b"\x1b[?2004h"),
        (b"\x1b[?1004l", b"\x1b[?1004h"),
    ):
        assert raw.rfind(off) > raw.rfind(on) >= 0, (off, on)


async def everyone(livekit: api.LiveKitAPI, room: str) -> dict[str, models_pb.ParticipantInfo]:
    """Who the server says is in the room, by identity."""
    answer = await livekit.room.list_participants(api.ListParticipantsRequest(room=room))
    return {who.identity: who for who in answer.participants}


async def agents(livekit: api.LiveKitAPI, room: str) -> list[models_pb.ParticipantInfo]:
    """The agents who the server says are in the room."""
    return [who for who in (await everyone(livekit, room)).values() if who.kind == models_pb.ParticipantInfo.AGENT]


async def rooms(livekit: api.LiveKitAPI, name: str) -> Sequence[models_pb.Room]:
    """The rooms of that name that the server says there are."""
    return (await livekit.room.list_rooms(api.ListRoomsRequest(names=[name]))).rooms


# A room with a person and an agent, on the real server


async def test_a_session_is_closed_its_job_shut_down_and_another_agent_ordered(
    lab_server: LabServer, lab_worker: LabWorker, room_name: str, tmp_path: Path
) -> None:
    async with (
        lab_server.client() as livekit,
        await join(lab_server, room_name, "ann") as ann,
        dashboard(lab_server, tmp_path) as terminal,
    ):
        await lab_worker.wait_for("ready", room=room_name)
        await select(terminal, room_name)
        await terminal.wait_for(lambda: "listening" in terminal.line(room_name[:16]))
        await terminal.wait_for("session  open")
        (agent,) = await agents(livekit, room_name)

        await confirm(terminal, "c", agent.identity, agent.sid, "closes its session", "1 person")
        closed = await lab_worker.wait_for("close", room=room_name)
        assert closed["reason"] == "user_initiated"
        await terminal.wait_for("✓ close")
        await terminal.wait_for(lambda: "agent stays" in terminal.line(room_name[:16]))
        (still_there,) = await agents(livekit, room_name)
        assert still_there.sid == agent.sid
        assert still_there.attributes["lk-tui.session"] == "closed"

        await confirm(terminal, "x", agent.identity, agent.sid, "its job", "1 person")
        shut_down = await lab_worker.wait_for("shutdown", room=room_name)
        assert shut_down["reason"] == f"{OPERATOR} asked for it in lk-tui"
        await terminal.wait_for("✓ shut")
        assert list(await everyone(livekit, room_name)) == ["ann"]
        await terminal.wait_for("No agent is in this room.")

        terminal.send("a")
        await terminal.wait_for("(automatic: any worker without an agent name)")
        terminal.send(ENTER)
        await terminal.wait_for("As seen")
        await terminal.press(RIGHT, "Cancel")
        terminal.send(ENTER)
        found: list[models_pb.ParticipantInfo] = await eventually(partial(agents, livekit, room_name))
        (another,) = found
        assert another.sid != agent.sid
        await terminal.wait_for("✓ dispatch")
        assert ann.disconnected is None
        await leave(terminal)


async def test_a_person_is_kicked_and_a_room_deleted(
    lab_server: LabServer, lab_worker: LabWorker, room_name: str, tmp_path: Path
) -> None:
    async with (
        lab_server.client() as livekit,
        await join(lab_server, room_name, "ann") as ann,
        await join(lab_server, room_name, "bob") as bob,
        dashboard(lab_server, tmp_path) as terminal,
    ):
        await lab_worker.wait_for("ready", room=room_name)
        await select(terminal, room_name)
        await terminal.wait_for("bob")
        terminal.send(ENTER)
        sid = (await everyone(livekit, room_name))["ann"].sid
        await confirm(terminal, "K", f"ann  {sid}", "A kick is not a ban")
        await eventually(lambda: ann.disconnected == "PARTICIPANT_REMOVED")
        await terminal.wait_for("✓ kick")
        assert "bob" in await everyone(livekit, room_name)

        await terminal.press(ESCAPE, room_name[:10])
        await confirm(terminal, "D", "1 person and 1 agent will be disconnected")
        await eventually(lambda: bob.disconnected == "ROOM_DELETED")
        assert not await rooms(livekit, room_name)

        # The name is watched for 20 s, which quitting would cut off: it is asked for twice.
        terminal.send("q")
        await terminal.wait_for("still running")
        await leave(terminal)


async def test_a_room_is_torn_down_step_by_step(
    lab_server: LabServer, lab_worker: LabWorker, room_name: str, tmp_path: Path
) -> None:
    async with (
        lab_server.client() as livekit,
        await join(lab_server, room_name, "ann") as ann,
        dashboard(lab_server, tmp_path) as terminal,
    ):
        await lab_worker.wait_for("ready", room=room_name)
        await select(terminal, room_name)
        await terminal.wait_for("session  open")
        await confirm(terminal, "T", "its job", "disconnected")
        await eventually(lambda: ann.disconnected == "ROOM_DELETED")
        assert (await lab_worker.wait_for("close", room=room_name))["reason"] == "user_initiated"
        assert (await lab_worker.wait_for("shutdown", room=room_name))["reason"] == f"{OPERATOR} asked for it in lk-tui"
        assert not await rooms(livekit, room_name)
        await terminal.wait_for(lambda: re.search(r"… tear down: .*watch", terminal.text))
        terminal.send("q")
        await terminal.wait_for("still running")
        await leave(terminal)


async def test_a_small_terminal_shows_all_that_matters(
    lab_server: LabServer, lab_worker: LabWorker, room_name: str, tmp_path: Path
) -> None:
    async with (
        lab_server.client() as livekit,
        await join(lab_server, room_name, "ann"),
        dashboard(lab_server, tmp_path, columns=80, rows=24) as terminal,
    ):
        await lab_worker.wait_for("ready", room=room_name)
        await select(terminal, room_name)
        (agent,) = await agents(livekit, room_name)
        await terminal.wait_for(lambda: "listening" in terminal.line(room_name[:10]))
        status, counts, *_ = terminal.lines
        assert "lk-tui" in status
        assert "127.0.0.1" in status
        assert "● live" in status
        assert "room" in counts
        for key in ("c close", "x shut down", "K kick", "D delete", "T tear down", "a dispatch", "? help"):
            assert key in terminal.lines[-1]
        await terminal.wait_for("ann")
        assert agent.identity in terminal.text

        # The lower panes take turns.
        await terminal.press(TAB, room_name[:10])
        terminal.send(TAB)
        await terminal.wait_for("session  open")
        terminal.send(TAB)
        await terminal.wait_for("Closes ─")
        await terminal.press(ESCAPE, room_name[:10])

        # A dialog is seen whole, with its target's ids, and Cancel is what Enter presses.
        for key, button in (("c", "Close session"), ("x", "Shut down job"), ("D", "Delete room"), ("T", "Tear down")):
            await ask(terminal, key, "Cancel", button, "RM_")
            terminal.send(ENTER)
            await terminal.wait_for(lambda: "As seen" not in terminal.text)

        terminal.send("?")
        await terminal.wait_for("Select the row above.")
        terminal.send(END)
        await terminal.wait_for("Signs, worst first")
        await terminal.wait_for("last read long ago")
        await go_back(terminal, "lk-tui help")
        assert {who.attributes.get("lk-tui.session") for who in await agents(livekit, room_name)} == {"open"}
        await leave(terminal)


# Names that strangers chose

TITLE = "\x1b]0;owned\x07"
CLIPBOARD = "\x1b]52;c;b3duZWQ=\x07"
HOSTILE = f"{TITLE}{CLIPBOARD}\x9b31m\x1b[2J\u202egnp.exe\u2028[@click=app.quit]x[/]"


async def test_hostile_names_are_written_out_and_do_nothing(lab_server: LabServer, tmp_path: Path) -> None:
    room, identity = f"{HOSTILE} room", f"{HOSTILE} ann"
    try:
        async with lab_server.client() as livekit, await join(lab_server, room, identity) as ann:
            await livekit.room.update_room_metadata(api.UpdateRoomMetadataRequest(room=room, metadata=HOSTILE))
            await livekit.room.update_participant(
                api.UpdateParticipantRequest(
                    room=room, identity=identity, name=HOSTILE, metadata=HOSTILE, attributes={HOSTILE: HOSTILE}
                )
            )
            async with dashboard(lab_server, tmp_path) as terminal:
                await narrow(terminal, "owned")
                row = "⚑\\x1b]0;owned"
                await terminal.press(ENTER, row)
                await terminal.press(ENTER, row)
                terminal.send(ENTER)
                await terminal.wait_for("\\u202egnp.exe\\u2028[@click=app.quit]x[/] ann")
                # In both titles, and as identity, name, room, metadata, and both halves of an attribute.
                await terminal.wait_for(lambda: terminal.text.count("\\u202egnp.exe") >= 6)
                await go_back(terminal, "identity  ")
                await confirm(terminal, "K", "⚑ a name here holds")
                await eventually(lambda: ann.disconnected == "PARTICIPANT_REMOVED")
                await terminal.wait_for("✓ kick")
                sid = (await rooms(livekit, room))[0].sid
                await terminal.press(ESCAPE, row)
                terminal.send("y")
                await terminal.wait_for(f"Copied {sid}")
                terminal.send("q")
                assert await terminal.exit_code() == 0
                # The SID in the clipboard is all: a name that can't be shown isn't copied either.
                assert terminal.strays == b"\x1b]52;c;" + base64.b64encode(sid.encode()) + b"\x07"
                drawn = terminal.drawn.decode()
                assert [each for each in drawn if not each.isprintable() and each not in "\r\n"] == []
    finally:
        lab_server.delete_room(room)


# Looking without touching


@pytest.mark.parametrize("how", ["--read-only", "LK_TUI_READ_ONLY"])
async def test_read_only_has_no_commands_that_change_anything(
    lab_server: LabServer, room_name: str, tmp_path: Path, how: str
) -> None:
    options = [how] if how == "--read-only" else []
    variables = {} if options else {how: "1"}
    async with (
        lab_server.client() as livekit,
        await join(lab_server, room_name, "ann") as ann,
        dashboard(lab_server, tmp_path, *options, variables=variables) as terminal,
    ):
        assert "READ-ONLY" in terminal.lines[0]
        assert "delete" not in terminal.lines[-1]
        assert "/ filter" in terminal.lines[-1]
        await select(terminal, room_name)
        terminal.send("D")
        terminal.send("K")
        terminal.send("?")
        await terminal.wait_for("lk-tui help")
        assert b"As seen" not in terminal.drawn
        await go_back(terminal, "lk-tui help")
        assert "ann" in await everyone(livekit, room_name)
        assert ann.disconnected is None
        await leave(terminal)


# The server goes away


@pytest.fixture
def mortal_server(tmp_path: Path) -> Iterator[LabServer]:
    directory = tmp_path / "server"
    directory.mkdir()
    with LabServer(directory) as server:
        yield server


async def test_a_server_that_goes_away_leaves_the_last_picture_and_is_found_again(
    mortal_server: LabServer, tmp_path: Path
) -> None:
    async with mortal_server.client() as livekit, dashboard(mortal_server, tmp_path) as terminal:
        await livekit.room.create_room(api.CreateRoomRequest(name="kept"))
        await terminal.wait_for("kept · RM_")
        mortal_server.stop()
        await terminal.wait_for("✗ stale")
        await terminal.wait_for("refused the connection: is livekit-server running there? — showing the picture of")
        assert "kept · RM_" in terminal.text
        await terminal.wait_for(lambda: re.search(r"✗ stale [2-9]s", terminal.text))
        terminal.send("?")
        await terminal.wait_for("lk-tui help")
        await go_back(terminal, "lk-tui help")
        await asyncio.to_thread(mortal_server.start)
        await terminal.wait_for("● live", timeout=40)
        await terminal.wait_for("No rooms")
        await livekit.room.create_room(api.CreateRoomRequest(name="new"))
        await terminal.wait_for(lambda: "new" in terminal.line("not read") or "○ new" in terminal.text)
        await leave(terminal)


# The terminal goes away


@pytest.mark.parametrize("before", ["", "trap '' HUP; "], ids=["sighup", "sighup-ignored"])
async def test_the_program_ends_with_its_terminal(tmp_path: Path, before: str) -> None:
    argv = ["sh", "-c", before + 'exec "$@"', "sh", LK_TUI, "demo"]
    async with Terminal(argv, environment=clean_environment(tmp_path), cwd=tmp_path) as terminal:
        await terminal.wait_for("40 rooms")
        terminal.hang_up()
        assert await terminal.exit_code() == 128 + signal.SIGHUP


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_to_end_gives_the_terminal_back(tmp_path: Path, number: signal.Signals) -> None:
    async with demo(tmp_path) as terminal:
        terminal.signal(number)
        await terminal.exit_code()
        assert terminal.strays == b""
        assert_restored(terminal)


async def test_ctrl_c_ends_nothing_and_says_how_to_quit(tmp_path: Path) -> None:
    async with demo(tmp_path) as terminal:
        terminal.send(CTRL_C)
        await terminal.wait_for("Press q to quit")
        await leave(terminal)


async def test_the_shell_finds_its_terminal_as_it_was(tmp_path: Path) -> None:
    argv = ["sh", "-c", 'stty -g; "$@"; echo "ended with $?"; stty -g', "sh", LK_TUI, "demo"]
    async with Terminal(argv, environment=clean_environment(tmp_path), cwd=tmp_path) as terminal:
        await terminal.wait_for("40 rooms")
        terminal.send("q")
        assert await terminal.exit_code() == 0
        before, ended, after = terminal.strays.decode().split()[0], "ended with 0", terminal.strays.decode().split()[-1]
        assert ended in terminal.strays.decode()
        assert before == after


# The demo


async def test_the_demo_needs_nothing_and_everything_in_it_works(tmp_path: Path) -> None:
    async with demo(tmp_path) as terminal:
        assert "DEMO" in terminal.lines[0]
        await terminal.wait_for("1 person waits")
        await terminal.press(DOWN, "support-")
        assert "▲" in terminal.lines[1]
        await confirm(terminal, "D", "will be disconnected")
        await terminal.wait_for("support-3996 is gone")
        terminal.send("q")
        await terminal.wait_for("still running")
        await leave(terminal)


async def test_an_agents_session_is_looked_into(tmp_path: Path) -> None:
    async with demo(tmp_path, columns=80, rows=24) as terminal:
        # With this seed nothing happens to it for four minutes.
        await select(terminal, "support-3998")
        terminal.send(TAB + TAB)
        await terminal.wait_for("agent frontdesk")
        terminal.send(ENTER)
        await terminal.wait_for("● answering")
        await terminal.wait_for("Conversation ─")
        terminal.send(TAB)
        await terminal.wait_for("You answer the phone of Velo Nord")
        terminal.send(TAB + "n")
        await terminal.wait_for("round trip")
        terminal.send(ESCAPE)
        await terminal.wait_for("SAID AND DONE")
        terminal.send(ESCAPE)
        await terminal.wait_for("Rooms ─")


async def test_a_resized_terminal_is_filled_anew(tmp_path: Path) -> None:
    async with demo(tmp_path) as terminal:
        assert "CHECKED" in terminal.text
        terminal.resize(80, 24)
        await terminal.wait_for(lambda: "? help" in terminal.lines[23] and "CHECKED" not in terminal.text)
        terminal.resize(160, 50)
        await terminal.wait_for(lambda: "q quit" in terminal.lines[49] and "CHECKED" in terminal.text)
        await leave(terminal)


# What must not be seen


async def test_the_secret_is_on_no_screen_and_in_no_list_of_processes(
    lab_server: LabServer, room_name: str, tmp_path: Path
) -> None:
    async with await join(lab_server, room_name, "ann"), dashboard(lab_server, tmp_path) as terminal:
        await select(terminal, room_name)
        await terminal.press(ENTER, room_name[:10])
        for key, seen in ((ENTER, "metadata"), ("?", "lk-tui help"), ("K", "As seen"), (CTRL_P, "Search")):
            terminal.send(key)
            await terminal.wait_for(seen)
            await go_back(terminal, seen)
        listed = command_lines_of_session(terminal.pid)
        assert any(b"lk-tui" in words for words in listed)
        assert lab_server.api_secret.encode() not in b"".join(listed)
        await leave(terminal)
        assert_keeps_secrets(terminal, lab_server)


@pytest.mark.parametrize(
    "where", ["tui.gateway.client:Gateway.__aenter__", "tui.ui.main_screen:MainScreen.take_snapshot"]
)
async def test_the_secret_is_in_no_crash_report(lab_server: LabServer, tmp_path: Path, where: str) -> None:
    script = """
import importlib, sys

def crash(*_):
    raise RuntimeError("a fault of our own")

module, _, path = sys.argv.pop().partition(":")
owner, _, name = path.partition(".")
setattr(getattr(importlib.import_module(module), owner), name, crash)
from tui.cli import main
main()
"""
    argv = [sys.executable, "-c", script, where]
    async with Terminal(argv, environment=environment(lab_server, tmp_path), cwd=tmp_path) as terminal:
        assert await terminal.exit_code() == 1
        assert b"a fault of our own" in terminal.strays
        assert_restored(terminal)
        assert_keeps_secrets(terminal, lab_server)


def assert_keeps_secrets(terminal: Terminal, server: LabServer) -> None:
    """Neither the secret nor an access token was ever written, not even cut by the end of a line."""
    written = re.sub(rb"[^\x21-\x7e]+", b"", terminal.drawn + terminal.strays)
    assert server.api_secret.encode() not in written
    assert b"eyJ" not in written


def command_lines_of_session(leader: int) -> list[bytes]:
    """The command lines, as everyone on the machine can list them, of the session that this process leads."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(process.joinpath("stat").read_text().rpartition(")")[2].split()[3]) == leader:
                found.append(process.joinpath("cmdline").read_bytes())
    return found
