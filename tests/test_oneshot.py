"""`lk-tui rooms`: one picture of a project as text, and as the JSON that docs/rooms-json.md promises."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from livekit import api

from tests.build import NOW, agent, dispatch, person, room, snapshot
from tests.command import LIMIT_S, completed
from tests.lab.people import join
from tests.lab.server import LabServer
from tests.lab.waiting import eventually
from tests.lab.worker import LabWorker
from tests.terminal import LK_TUI, clean_environment
from tui.model.room import Kind, ParticipantState, SessionState
from tui.model.signs import SignCode, Thresholds
from tui.oneshot.rooms import as_json, as_text, rows_of

CONTRACT = (Path(__file__).parent.parent / "docs" / "rooms-json.md").read_text("utf-8")

TYPES: Mapping[str, Any] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "null": lambda value: value is None,
    "time": lambda value: (
        isinstance(value, str) and bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value))
    ),
}


def promised(section: str) -> dict[str, list[str]]:
    """The fields that the contract promises in this section, with the types that each may have."""
    (body,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", CONTRACT, re.DOTALL | re.MULTILINE)
    fields = {}
    for names, types in re.findall(r"^\| (`.+?`) \| (.+?) \|", body, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            fields[name] = types.split(" or ")
    return fields


def promised_words(section: str, field: str) -> set[str]:
    """The values of a field that the contract names."""
    (body,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", CONTRACT, re.DOTALL | re.MULTILINE)
    (meaning,) = re.findall(rf"^\| `{field}` \| .+? \| (.+) \|$", body, re.MULTILINE)
    return set(re.findall(r"`(\w+)`", meaning))


def assert_kept(section: str, thing: Mapping[str, Any]) -> None:
    """All promised fields are there, no others, each of a promised type."""
    fields = promised(section)
    assert thing.keys() == fields.keys()
    for name, types in fields.items():
        assert any(TYPES[each](thing[name]) for each in types), (section, name, thing[name])


def assert_document_kept(document: Mapping[str, Any]) -> None:
    """The whole document is as promised."""
    assert_kept("The document", document)
    for one in document["rooms"]:
        assert_kept("A room", one)
        for participant in one["participants"] or ():
            assert_kept("A participant", participant)
        for each in one["agents"] or ():
            assert_kept("An agent", each)
        for sign in one["signs"]:
            assert_kept("A sign", sign)


async def lk_tui_rooms(server: LabServer, home: Path, *options: str, **variables: str) -> str:
    """What `lk-tui rooms` prints; it must end with 0 and complain about nothing."""
    environment = clean_environment(home, **server.variables, **variables)
    done = await completed([LK_TUI, "rooms", *options], environment, home)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
    return done.stdout.decode(variables.get("PYTHONIOENCODING", "utf-8"))


# On the real server


async def test_a_person_and_an_agent_are_in_both_forms(
    lab_server: LabServer, lab_worker: LabWorker, room_name: str, tmp_path: Path
) -> None:
    async def seen() -> dict[str, Any]:
        document = json.loads(await lk_tui_rooms(lab_server, tmp_path, "--json"))
        assert_document_kept(document)
        (found,) = (one for one in document["rooms"] if one["name"] == room_name)
        assert isinstance(found, dict)
        return found

    async with lab_server.client() as livekit, await join(lab_server, room_name, "ann"):
        ready = await lab_worker.wait_for("ready", room=room_name)

        async def seen_whole() -> dict[str, Any]:
            found = await seen()
            # The job is listed up to 5 s late, and the state set soon after the agent has joined.
            assert found["agents"][0]["job"]
            assert found["agents"][0]["state"] == "listening"
            return found

        found: dict[str, Any] = await eventually(seen_whole, timeout=30)
        asked = (await livekit.room.list_participants(api.ListParticipantsRequest(room=room_name))).participants
        sids = {who.identity: who.sid for who in asked}
        (order,) = await livekit.agent_dispatch.list_dispatch(room_name)
        people = {who["identity"]: who for who in found["participants"]}
        assert {identity: who["sid"] for identity, who in people.items()} == sids
        assert people["ann"]["kind"] == "standard"
        assert people["ann"]["state"] == "active"
        assert not people["ann"]["hidden"]
        assert people[str(ready["identity"])]["kind"] == "agent"
        assert found["agents"] == [
            {
                "identity": ready["identity"],
                "sid": sids[str(ready["identity"])],
                "name": "auto agent",
                "state": "listening",
                "session": "open",
                "dispatch": order.id,
                "job": order.state.jobs[0].id,
            }
        ]
        assert found["signs"] == []
        assert datetime.now(UTC) - datetime.fromisoformat(people["ann"]["joined_at"]) < timedelta(minutes=5)

        text = await lk_tui_rooms(lab_server, tmp_path)
        paragraph = next(each for each in text.split("\n\n") if each.startswith(room_name))
        heading, *lines = paragraph.splitlines()
        assert heading == f"{room_name}  {found['sid']}  1 person, auto agent"
        assert re.fullmatch(r"  ann  person, active, joined \d+s ago", lines[0])
        assert re.fullmatch(rf"  {ready['identity']}  agent, active, joined \d+s ago", lines[1])
        assert lines[2] == "  auto agent: listening"


HOSTILE = "\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x9b2J\u202etxt.exe\nroot  RM_fake\u2028end"


async def test_hostile_names_are_escaped_in_text_and_exact_in_json(lab_server: LabServer, tmp_path: Path) -> None:
    async with await join(lab_server, HOSTILE, HOSTILE):
        try:
            text = await lk_tui_rooms(lab_server, tmp_path)
            written = await lk_tui_rooms(lab_server, tmp_path, "--json")
        finally:
            lab_server.delete_room(HOSTILE)
    safe = r"\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x9b2J\u202etxt.exe\x0aroot  RM_fake\u2028end"
    assert f"\n{safe}  RM_" in text
    assert f"\n  {safe}  person, " in text
    assert all(char.isprintable() or char == "\n" for char in text)
    assert all(char.isascii() and (char.isprintable() or char == "\n") for char in written)
    document = json.loads(written)
    assert_document_kept(document)
    (found,) = (one for one in document["rooms"] if one["name"] == HOSTILE)
    assert HOSTILE in [who["identity"] for who in found["participants"]]


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[LabServer]:
    directory = tmp_path / "server"
    directory.mkdir()
    with LabServer(directory) as server:
        yield server


async def test_a_server_without_rooms_is_a_picture_too(own_server: LabServer, tmp_path: Path) -> None:
    assert await lk_tui_rooms(own_server, tmp_path) == "0 rooms, 0 people\n"
    document = json.loads(await lk_tui_rooms(own_server, tmp_path, "--json"))
    assert_document_kept(document)
    assert document["rooms"] == []
    assert abs(datetime.now(UTC) - datetime.fromisoformat(document["at"])) < timedelta(minutes=1)


def test_a_reader_that_went_away_is_no_failure_worth_words(lab_server: LabServer, tmp_path: Path) -> None:
    environment = clean_environment(tmp_path, **lab_server.variables)
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [LK_TUI, "rooms"],
            cwd=tmp_path,
            env=environment,
            stdout=write,
            stderr=subprocess.PIPE,
            check=False,
            timeout=LIMIT_S,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


async def test_an_output_that_is_not_unicode_gets_escapes(
    lab_server: LabServer, room_name: str, tmp_path: Path
) -> None:
    async with await join(lab_server, room_name, "björn-한"):
        text = await lk_tui_rooms(lab_server, tmp_path, PYTHONIOENCODING="latin-1")
    assert r"  björn-\ud55c  person, " in text


# What the lab can't have


def everything() -> dict[str, Any]:
    """A document of one room with all that may be null being null, and one with every kind, state and session."""
    people = [
        person(f"{kind.value} {state.value}", kind=kind, state=state)
        for kind in Kind
        if kind is not Kind.AGENT
        for state in ParticipantState
    ]
    agents = [agent(f"agent-{session.value}", session=session, state="listening") for session in SessionState]
    whole = room("whole", *people, *agents, agent("quiet"), dispatches=(dispatch("sales", "agent-open"),))
    unread = room("unread", participants=None, dispatches=None, checked_at=None)
    document: dict[str, Any] = json.loads(as_json(rows_of(snapshot(whole, unread), Thresholds()), NOW))
    return document


def test_every_word_that_a_field_may_have_is_in_the_contract() -> None:
    document = everything()
    assert_document_kept(document)
    (whole,) = (one for one in document["rooms"] if one["name"] == "whole")
    for field in ("kind", "state"):
        assert {who[field] for who in whole["participants"]} == promised_words("A participant", field)
    assert {each["session"] for each in whole["agents"]} == promised_words("An agent", "session")
    assert {code.value for code in SignCode} == promised_words("A sign", "code")


def test_what_is_not_known_is_null() -> None:
    document = everything()
    (whole, unread) = sorted(document["rooms"], key=lambda one: one["name"] == "unread")
    assert (unread["participants"], unread["agents"]) == (None, None)
    quiet = next(each for each in whole["agents"] if each["identity"] == "quiet")
    assert (quiet["state"], quiet["dispatch"], quiet["job"]) == (None, None, None)
    assert "participants unknown" in as_text(rows_of(snapshot(room("unread", participants=None)), Thresholds()), NOW)


def test_the_example_of_the_contract_keeps_it() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", CONTRACT, re.DOTALL)
    assert_document_kept(json.loads(example))


def test_rooms_in_trouble_come_first() -> None:
    waiting, calm = room("b-waiting", person(joined=60)), room("a-calm", person("bob"), agent(state="listening"))
    rows = rows_of(snapshot(calm, waiting), Thresholds())
    document = json.loads(as_json(rows, NOW))
    assert [one["name"] for one in document["rooms"]] == ["b-waiting", "a-calm"]
    (sign,) = document["rooms"][0]["signs"]
    assert (sign["code"], sign["text"]) == ("waiting", "1 person waits 1m, no agent")
    assert datetime.fromisoformat(sign["since"]).timestamp() == NOW - 60
    assert as_text(rows, NOW).splitlines()[2:4] == [
        "b-waiting  RM_b-waiting  1 person, agent —",
        "  ! 1 person waits 1m, no agent",
    ]
