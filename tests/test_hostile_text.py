"""Text that strangers chose, through everything that lk-tui writes: a real terminal, files, one-shot output, history.

What Textual itself sends to a terminal is learned from the same keys on a harmless name: nothing else may be sent.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.dashboard import join, open_room, small_world
from tests.hostile import HOSTILE, NAMES
from tests.terminal import ENTER, ESCAPE, LK_TUI, RIGHT, TAB, Terminal, clean_environment
from tui.demo import DemoService

TEXTS = [text for text in HOSTILE.values() if text]
ALL_IN_ONE = "".join(
    HOSTILE[kind]
    for kind in (
        "escape sequences",
        "other controls",
        "line breaks",
        "bidirectional and invisible",
        "a nul",
        "markup",
    )
)
"""All that a terminal acts on."""
_SEQUENCE = re.compile(
    r"\x1b\[(?P<private>[<>=?]*)(?P<numbers>[0-9;:]*)(?P<between>[ -/]*)(?P<final>[@-~])"
    r"|\x1b\](?P<osc>[0-9]*);?(?P<said>[^\x07\x1b\x9c]*)(?:\x07|\x1b\\)"
    r"|\x1b(?P<other>.)|(?P<control>[\x00-\x1f\x7f-\x9f])",
    re.DOTALL,
)


@asynccontextmanager
async def served(texts: list[str], home: Path) -> AsyncIterator[dict[str, str]]:
    """A server with a room for each text, which stands in every place that a stranger can write to; and the environment
    of somebody who looks at it."""
    world = small_world()
    rooms = {text: open_room(world, text) for text in texts}
    # Agents take a moment to come.
    world.advance(time.time() - 30.0)
    for text, room in rooms.items():
        join(world, room, text, name=text, attributes={text: text})
        room.info.metadata = text
        (agent,) = room.agents
        agent.attributes |= {"lk.agent.name": text, "lk.agent.state": text, "said": text}
        agent.name = text
    async with DemoService(world) as demo:
        yield clean_environment(
            home,
            LIVEKIT_URL=demo.url,
            LIVEKIT_API_KEY=demo.api_key,
            LIVEKIT_API_SECRET=demo.api_secret,
            LK_TUI_LOG=str(home / "log"),
            XDG_STATE_HOME=str(home),
        )


def assert_only_text(written: bytes) -> None:
    """Lines of printable text, and nothing else."""
    for line in written.decode().split("\n"):
        assert line.isprintable(), line


async def run(environment: dict[str, str], *arguments: str) -> bytes:
    """What a one-shot command prints."""
    done = await asyncio.to_thread(
        subprocess.run, [LK_TUI, *arguments], env=environment, capture_output=True, check=False, timeout=60
    )
    assert_only_text(done.stderr)
    assert done.returncode == 0, done.stderr
    return done.stdout


# On a terminal


async def look_at_everything(terminal: Terminal) -> None:
    """Open all that can be opened of the one room, kick its person, save the log, and copy names."""
    await terminal.wait_for("1 room ")
    await terminal.wait_for(lambda: "no agent" not in terminal.text and "connecting" not in terminal.text)
    for key, seen in (("D", "As seen"), ("T", "As seen"), ("a", "or type an agent name")):
        await look(terminal, key, seen)
    terminal.send("y", ENTER)
    # A person's page, and an agent's session; both can be kicked.
    for key in "gG":
        terminal.send(key)
        await look(terminal, ENTER, "metadata", "SAID AND DONE")
        await look(terminal, "K", "As seen")
    await look(terminal, "?", "lk-tui help")
    await look(terminal, "i", "Where evidence comes from")
    terminal.send("*", "K")
    await terminal.wait_for("TO BE KNOWN")
    terminal.send(RIGHT, ENTER)
    await terminal.wait_for(lambda: "2 confirmed" in terminal.text and "kicked by operator" in terminal.text)
    # From the participants on to the log: what was done to both, and the agent's close that came of it.
    terminal.send(TAB, TAB, "G")
    await look(terminal, ENTER, "probe: the agent's process answered")
    terminal.send("w")
    await terminal.wait_for("Saved")
    terminal.send("q")


async def look(terminal: Terminal, key: str, *seen: str) -> None:
    """Open something that says one of these, and close it again."""

    def is_open() -> bool:
        return any(words in terminal.text for words in seen)

    terminal.send(key)
    await terminal.wait_for(is_open)
    terminal.send(ESCAPE)
    await terminal.wait_for(lambda: not is_open())


def sequences(raw: bytes) -> Iterator[tuple[str, ...]]:
    """All that a terminal would act on in what was written, each without what differs from picture to picture."""
    for found in _SEQUENCE.finditer(raw.decode()):
        if found["final"]:
            # Of modes the number says which one; of colours and places it says nothing of interest.
            which = found["numbers"] if found["final"] in "hlpqtnc" else ""
            yield "CSI", found["private"], which, found["between"], found["final"]
        elif found["osc"] is not None:
            yield "OSC", found["osc"], "" if found["osc"] == "52" else found["said"]
        else:
            yield "other", found["other"] or found["control"]


async def test_nothing_but_what_textual_sends_for_harmless_names_reaches_a_terminal(tmp_path: Path) -> None:
    sent: list[set[tuple[str, ...]]] = []
    for name, text in (("harmless", "plain"), ("hostile", ALL_IN_ONE)):
        home = tmp_path / name
        home.mkdir()
        command = [LK_TUI, "--interval", "0.3", "--observe", "0"]
        async with (
            served([text], home) as environment,
            Terminal(command, environment=environment, cwd=home) as terminal,
        ):
            await look_at_everything(terminal)
            assert await terminal.exit_code(60.0) == 0
            sent.append(set(sequences(terminal.raw)))
            assert [char for char in _SEQUENCE.sub("", terminal.raw.decode()) if not char.isprintable()] == []
            (copied,) = re.findall(rb"\x1b\]52;c;([^\x07]*)\x07", terminal.raw)
            assert_only_text(base64.b64decode(copied))
            # What it leaves behind.
            (saved,) = home.glob("lk-tui-log-*.jsonl")
            assert_only_text(saved.read_bytes())
            assert {json.loads(line)["room"]["name"] for line in saved.read_text("utf-8").splitlines()} == {text}
            assert_only_text((home / "log").read_bytes())
            assert_only_text(await run(environment, "closes"))
            closes = json.loads(await run(environment, "closes", "--json"))
            assert {close["room"]["name"] for close in closes} == {text}
    harmless, hostile = sent
    assert hostile <= harmless, hostile - harmless
    assert len(harmless) > 10


# One-shot


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
async def test_one_shot_output_is_plain_text_and_json_keeps_every_name_as_it_is(tmp_path: Path, locale: str) -> None:
    texts = list(dict.fromkeys([*TEXTS, *NAMES.values()]))
    async with served(texts, tmp_path) as environment:
        environment |= {"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0" if locale == "C" else "1"}
        for arguments in (["rooms"], ["kick", "--all", "--dry-run"], ["delete", "--all", "--dry-run"]):
            printed = await run(environment, *arguments)
            assert_only_text(printed)
            assert printed.count(b"\n") >= len(texts)
        rooms: list[Any] = json.loads(await run(environment, "rooms", "--json"))["rooms"]
        assert sorted(room["name"] for room in rooms) == sorted(texts)
        assert sorted(who["identity"] for room in rooms for who in room["participants"] if who["kind"] != "agent") == (
            sorted(texts)
        )
