"""`lk-tui close-session`, `shutdown`, `kick`, `delete` and `teardown`, on a real server with real agents and people."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from livekit import api

from tests.build import NOW, room
from tests.command import completed
from tests.dashboard import served
from tests.lab.people import LabPerson, join
from tests.lab.server import LabServer
from tests.lab.wire import Wire
from tests.lab.worker import LabWorker
from tests.terminal import CTRL_C, ENTER, LK_TUI, Terminal, clean_environment
from tui.control.plan_many import plan_many
from tui.history.file import newest_actions, open_to_read
from tui.model.action import Action, Outcome
from tui.model.patience import Patience
from tui.model.secret import Secret
from tui.model.signs import Thresholds
from tui.oneshot.act import as_json, carry_out, exit_code, plan_for
from tui.oneshot.choose import Choice
from tui.settings import Connection

CONTRACT = (Path(__file__).parent.parent / "docs" / "actions-json.md").read_text("utf-8")
COMMANDS = ("close-session", "shutdown", "kick", "delete", "teardown")


class Shell:
    """A shell with the server's key in its environment, and the server as its own API tells of it."""

    def __init__(self, server: LabServer, livekit: api.LiveKitAPI, home: Path, people: AsyncExitStack) -> None:
        self.server = server
        self.livekit = livekit
        self.home = home
        self._people = people
        (home / "config.toml").write_text("[patience]\nwatch_name_s = 1\n[thresholds]\nalone_s = 1\n")
        self.environment = clean_environment(home, **server.variables)

    async def run(self, *words: str, **environment: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error; standard input is no terminal."""
        argv = [LK_TUI, *words, "--config", str(self.home / "config.toml")]
        argv += ["--history", str(self.home / "history.db")]
        done = await completed(argv, {**self.environment, **environment}, self.home)
        assert self.server.api_secret.encode() not in done.stdout + done.stderr
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    async def json(self, *words: str) -> tuple[int, Mapping[str, Any]]:
        code, out, err = await self.run(*words, "--json")
        assert out, err
        document = json.loads(out)
        assert document["exit_code"] == code, err
        return code, document

    def terminal(self, *words: str) -> Terminal:
        argv = [LK_TUI, *words, "--config", str(self.home / "config.toml"), "--no-history"]
        return Terminal(argv, environment=self.environment, cwd=self.home)

    async def create(self, name: str, *agent_names: str) -> str:
        """A room, by its SID."""
        agents = [api.RoomAgentDispatch(agent_name=agent_name) for agent_name in agent_names]
        return (await self.livekit.room.create_room(api.CreateRoomRequest(name=name, agents=agents))).sid

    async def join(self, name: str, identity: str) -> LabPerson:
        return await self._people.enter_async_context(await join(self.server, name, identity))

    async def rooms(self, *names: str) -> set[str]:
        found = await self.livekit.room.list_rooms(api.ListRoomsRequest(names=names))
        return {room.name for room in found.rooms}

    async def identities(self, name: str) -> set[str]:
        found = await self.livekit.room.list_participants(api.ListParticipantsRequest(room=name))
        return {one.identity for one in found.participants}

    def connection(self) -> Connection:
        return Connection(self.server.url, self.server.api_key, Secret(self.server.api_secret), "lab", "the lab")


@pytest.fixture
async def shell(lab_server: LabServer, tmp_path: Path) -> AsyncIterator[Shell]:
    async with AsyncExitStack() as people, lab_server.client() as livekit:
        yield Shell(lab_server, livekit, tmp_path, people)


@pytest.fixture
def names(room_name: str, lab_server: LabServer) -> Iterator[tuple[str, str, str]]:
    """Two rooms that are meant, and one whose name begins the same way."""
    made = (f"{room_name}-1", f"{room_name}-2", f"{room_name}")
    yield made
    for name in made:
        lab_server.delete_room(name)


# What is done


async def test_rooms_are_torn_down_by_pattern_and_their_neighbour_is_left_alone(
    shell: Shell, lab_worker: LabWorker, names: tuple[str, str, str]
) -> None:
    first, second, neighbour = names
    for name in names:
        await shell.join(name, "alice")
        await lab_worker.wait_for("ready", room=name)
    code, document = await shell.json("teardown", "--room", f"{neighbour}-?", "--yes", "--operator", "mira")
    assert code == 0, document
    assert [target["room"]["name"] for target in document["targets"]] == [first, second]
    assert {target["done"]["outcome"] for target in document["targets"]} == {"confirmed"}
    assert await shell.rooms(*names) == {neighbour}
    for name in (first, second):
        assert (await lab_worker.wait_for("close", room=name))["reason"] == "user_initiated"
    with closing(open_to_read(shell.home / "history.db")) as history:
        kept = newest_actions(history, shell.server.url, 0.0, 10)
    assert [(record.action, record.operator, record.outcome) for record in kept] == [
        (Action.TEAR_DOWN, "mira", Outcome.CONFIRMED)
    ] * 2


async def test_a_session_is_closed_and_a_job_shut_down(
    shell: Shell, lab_worker: LabWorker, plain_worker: LabWorker, names: tuple[str, str, str]
) -> None:
    first, second, _ = names
    await shell.create(first)
    await shell.create(second, plain_worker.agent_name)
    for name in (first, second):
        await shell.join(name, "alice")
    await lab_worker.wait_for("ready", room=first)
    await plain_worker.wait_for("ready", room=second)
    code, out, err = await shell.run("close-session", "--room", first, "--yes")
    assert (code, out[:9]) == (0, "confirmed"), err
    assert "PerformRpc lk-tui.close_session" in err
    code, out, _ = await shell.run("close-session", "--room", second, "--yes")
    assert code == 1
    assert "does not run the lk-tui helper" in out
    assert len(await shell.identities(second)) == 2
    code, out, err = await shell.run("shutdown", "--room", first, "--yes")
    assert code == 0, (out, err)
    assert await shell.identities(first) == {"alice"}


async def test_only_the_participant_that_is_named_is_kicked(shell: Shell, names: tuple[str, str, str]) -> None:
    first, second, _ = names
    for name in (first, second):
        await shell.create(name, "nobody-of-this-name")
        for identity in ("ann", "anna"):
            await shell.join(name, identity)
    code, document = await shell.json("kick", "--room", first, "--identity", "ann", "--yes")
    assert code == 0, document
    (target,) = document["targets"]
    assert target["participant"]["identity"] == "ann"
    assert await shell.identities(first) == {"anna"}
    assert await shell.identities(second) == {"ann", "anna"}


async def test_agents_left_alone_are_found_by_watching(
    shell: Shell, lab_worker: LabWorker, names: tuple[str, str, str]
) -> None:
    alone, busy, _ = names
    for name in (alone, busy):
        await shell.create(name)
        await lab_worker.wait_for("ready", room=name)
    await shell.join(busy, "alice")
    code, out, err = await shell.run("delete", "--room", f"{names[2]}-*", "--sign", "alone", "--yes")
    assert code == 0, (out, err)
    assert alone in out
    assert await shell.rooms(alone, busy) == {busy}


# What is not done


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    shell: Shell, lab_worker: LabWorker, room_name: str, command: str
) -> None:
    await shell.join(room_name, "alice")
    await lab_worker.wait_for("ready", room=room_name)
    code, document = await shell.json(command, "--room", room_name, "--dry-run")
    assert (code, document["dry_run"]) == (0, True)
    (target,) = document["targets"]
    assert target["effects"]
    assert target["done"] is None
    code, out, _ = await shell.run(command, "--room", room_name, "--dry-run", LK_TUI_READ_ONLY="1")
    assert code == 0
    assert room_name in out
    assert len(await shell.identities(room_name)) == 2
    assert not lab_worker.events("close", room=room_name)
    assert not (shell.home / "history.db").exists()


def test_a_dry_run_ends_with_whether_all_of_it_can_be_done() -> None:
    call, empty = served("call"), room("empty")
    for marked, code in (([call], 0), ([call, empty], 5), ([empty], 5)):
        many = plan_many(Action.CLOSE_SESSION, [(each, None) for each in marked], NOW)
        assert exit_code(many, None) == code
        assert json.loads(as_json(many, None, "http://x", NOW))["exit_code"] == code


async def test_what_is_under_way_is_carried_out_though_nobody_reads_along_any_more(
    shell: Shell, room_name: str
) -> None:
    def gone(words: str) -> None:
        raise BrokenPipeError(words)

    await shell.create(room_name, "nobody-of-this-name")
    many = await plan_for(shell.connection(), Action.DELETE_ROOM, Choice([room_name]), Thresholds(), 600)
    patience = Patience(watch_name_s=0.5)
    records = await carry_out(shell.connection(), many, "mira", patience=patience, history=None, say=gone)
    assert [record.outcome for record in records] == [Outcome.CONFIRMED]
    assert await shell.rooms(room_name) == set()


@pytest.mark.parametrize("command", COMMANDS)
async def test_read_only_is_refused(shell: Shell, room_name: str, command: str) -> None:
    await shell.create(room_name, "nobody-of-this-name")
    for extra, environment in (([], {"LK_TUI_READ_ONLY": "1"}), (["--read-only"], {})):
        code, out, err = await shell.run(command, "--room", room_name, "--yes", *extra, **environment)
        assert (code, out) == (5, "")
        assert "read-only: nothing was sent" in err
    assert await shell.rooms(room_name) == {room_name}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--yes"], "which rooms?"),
        (["--room", "x", "--all", "--yes"], "exclude each other"),
        (["--room", "x"], "nobody can be asked here"),
        (["--older-than", "soon", "--yes"], "a number and a unit are wanted"),
        (["--sign", "returned", "--yes"], "is not one of"),
    ],
)
async def test_wrong_usage_sends_nothing(shell: Shell, words: list[str], complaint: str) -> None:
    async with Wire(shell.server.url) as wire:
        code, out, err = await shell.run("delete", *words, LIVEKIT_URL=wire.url)
    assert (code, out) == (2, "")
    assert complaint in err
    assert wire.asked == []


async def test_nothing_that_matches_is_nothing_to_do(shell: Shell, room_name: str) -> None:
    code, out, _ = await shell.run("delete", "--room", f"{room_name}-none", "--yes")
    assert (code, out) == (0, "nothing matches: there is nothing to do\n")


async def test_a_key_that_is_refused_and_a_server_that_is_not_there_have_codes_of_their_own(shell: Shell) -> None:
    code, _, err = await shell.run("delete", "--all", "--yes", LIVEKIT_API_SECRET="another" * 6)
    assert code == 3
    assert "refuses the API key or its secret" in err
    with socket.socket() as taken:
        # Bound and not listening: nobody's server may get the port meanwhile, and lose its rooms.
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        code, _, err = await shell.run("delete", "--all", "--yes", LIVEKIT_URL=url)
    assert code == 4
    assert "Traceback" not in err


async def test_a_room_recreated_since_it_was_planned_is_refused(shell: Shell, room_name: str) -> None:
    await shell.create(room_name, "nobody-of-this-name")
    connection = shell.connection()
    many = await plan_for(connection, Action.DELETE_ROOM, Choice(rooms=[room_name]), Thresholds(), 600)
    await shell.livekit.room.delete_room(api.DeleteRoomRequest(room=room_name))
    again = await shell.create(room_name, "nobody-of-this-name")
    records = await carry_out(connection, many, "mira", patience=Patience(), history=None, say=lambda _: None)
    assert [record.outcome for record in records] == [Outcome.REFUSED]
    assert again in records[0].last
    assert exit_code(many, records) == 5
    assert await shell.rooms(room_name) == {room_name}


# At a terminal


async def test_it_is_done_only_once_the_word_is_typed(shell: Shell, room_name: str) -> None:
    await shell.create(room_name, "nobody-of-this-name")
    for typed, code in (("no", 5), ("yes", 0)):
        async with shell.terminal("delete", "--room", room_name) as terminal:
            await terminal.wait_for("type yes to go on")
            assert room_name in terminal.text
            terminal.send(typed, ENTER)
            assert await terminal.exit_code() == code
        assert (await shell.rooms(room_name) == {room_name}) is (code == 5)


async def test_many_rooms_are_deleted_only_by_typing_how_many(shell: Shell, room_name: str) -> None:
    names = [f"{room_name}-{number}" for number in range(4)]
    for name in names:
        await shell.create(name, "nobody-of-this-name")
    try:
        for typed, code in (("yes", 5), ("4", 0)):
            async with shell.terminal("delete", "--room", f"{room_name}-*") as terminal:
                await terminal.wait_for("type 4 to go on")
                terminal.send(typed, ENTER)
                assert await terminal.exit_code() == code
            assert (await shell.rooms(*names) == set(names)) is (code == 5)
    finally:
        for name in names:
            shell.server.delete_room(name)


async def test_ctrl_c_stops_between_two_steps(shell: Shell, room_name: str) -> None:
    await shell.create(room_name, "nobody-of-this-name")
    (shell.home / "config.toml").write_text("[patience]\nwatch_name_s = 60\n")
    async with shell.terminal("delete", "--room", room_name, "--yes") as terminal:
        await terminal.wait_for("watching the name")
        terminal.send(CTRL_C)
        assert await terminal.exit_code() == 1
        assert "stopped after DeleteRoom" in " ".join(terminal.text.split())
    assert await shell.rooms(room_name) == set()


# The contract


def promised(section: str) -> set[str]:
    (body,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", CONTRACT, re.DOTALL | re.MULTILINE)
    return {name for row in re.findall(r"^\| (`.+?`) \|", body, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}


async def test_the_json_is_what_the_contract_promises(shell: Shell, room_name: str) -> None:
    await shell.create(room_name, "nobody-of-this-name")
    _, document = await shell.json("delete", "--room", room_name, "--yes")
    assert set(document) == promised("The document")
    (target,) = document["targets"]
    assert set(target) == promised("A target")
    assert set(target["done"]) == promised("What became of it")
    for outcome in Outcome:
        assert outcome is Outcome.RUNNING or f"`{outcome.value}`" in CONTRACT
