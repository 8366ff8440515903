"""Text that strangers chose, through all that the dashboard shows: the terminal is sent nothing but what Textual sends.

Every key waits for what only that key brings about, and Esc for its dialog to be off the screen: an Esc with another
key right behind it would be Alt.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from pathlib import Path

from livekit import api

from tests.command import completed
from tests.hostile import HOSTILE
from tests.hostile_server import served
from tests.lab.people import LabPerson, join
from tests.lab.server import LabServer
from tests.lab.worker import LabWorker
from tests.terminal import CTRL_P, ENTER, ESCAPE, LK_TUI, RIGHT, TAB, Terminal, clean_environment

ACTED_ON = (
    "\x1b]0;owned\x07",
    "\x1b]52;c;b3duZWQ=\x1b\\",
    "\x1b[2J",
    "\x1b[31m",
    "\x1b(0",
    "\x1b[6n",
    "\x9b31m",
    "\x9d0;owned\x9c",
    "\x90",
    "\x00",
    "\x08",
    "\x0e",
    "\t",
    "\u2028",
    "\u202e",
    "\u2066",
)
"""What a terminal acts on, piece by piece."""
HARMFUL = "".join(ACTED_ON) + "\r\n[@click=app.quit]x[/]"
"""All of it in one name, with a line's end and markup besides; written out it is still shown whole."""
SHOWN = "\\x1b]0;owned\\x07"
"""How that name begins where it is shown."""
PASTED = "\x1b[200~" + HARMFUL.replace("\x1b", "") + "\x1b[201~"
"""The same as a terminal hands it over from the clipboard: they leave ESC out of that."""

_WRITTEN = re.compile(
    r"\x1b\[(?P<private>[<=>?]?)(?P<numbers>[0-9;]*)(?P<final>[$]?[@-~])"
    r"|\x1b\](?P<osc>[0-9]+);[^\x00-\x1f\x7f-\x9f]*\x07"
    r"|\r\n(?=\x1b\[[0-9]+;[0-9]+H)"
)
"""A control sequence, or a line's end that goes before a move to the next line."""
SENT = {
    *(f"CSI ?{mode}{switch}" for mode in (7, 25, 1000, 1003, 1004, 1006, 1015, 1049, 2004, 2026) for switch in "hl"),
    *("CSI ?2026$p", "CSI ?2048$p", "CSI >25u", "CSI <u", "CSI ;H", "CSI m", "OSC 22", "OSC 52"),
}
"""All that Textual 8.2.8 sends to a terminal, whatever the names are: modes, places, colours, the pointer's shape, and
the clipboard. No title is among it."""


def kinds(raw: bytes) -> set[str]:
    """The kinds of what a terminal acts on in what was written; fails if there is anything else than these and text."""
    written = raw.decode()
    strange = {char for char in _WRITTEN.sub("", written) if not char.isprintable()}
    assert not strange, strange
    found = set()
    for each in _WRITTEN.finditer(written):
        if each["osc"]:
            found.add(f"OSC {each['osc']}")
        elif each["final"]:
            # The numbers of a mode say which one it is; those of a colour or a place, nothing.
            kept = {"m": "", "H": re.sub("[0-9]+", "", each["numbers"])}.get(each["final"], each["numbers"])
            found.add(f"CSI {each['private']}{kept}{each['final']}")
    return found


def assert_sent_nothing_of_it(terminal: Terminal) -> str:
    """Nothing was written but text and what Textual sends; returns what was copied, the one time it was."""
    found = kinds(terminal.raw)
    assert found <= SENT, found - SENT
    assert [text for text in ACTED_ON if text.encode() in terminal.raw] == []
    (copied,) = re.findall(rb"\x1b\]52;c;([^\x07]*)\x07", terminal.raw)
    return base64.b64decode(copied, validate=True).decode()


# What is seen, and what is pressed


def is_bold(terminal: Terminal, words: str) -> bool:
    """Whether these words are on the screen, in bold: the title of the pane with the focus is, and the row under its
    cursor."""
    looks = terminal.looks(words)
    return bool(looks) and all(bold for _, _, bold, *_ in looks)


async def press(terminal: Terminal, key: str, bold: str) -> None:
    """Press a key that takes the focus or the cursor there."""
    terminal.send(key)
    await terminal.wait_for(lambda: is_bold(terminal, bold))


async def close(terminal: Terminal, said: str) -> None:
    """Press Esc alone, until what said that is off the screen."""
    terminal.send(ESCAPE)
    await terminal.wait_for(lambda: said not in terminal.text)


async def look(terminal: Terminal, key: str, said: str, *more: str) -> None:
    """Open something that says all that, and close it again.

    All at once: while it is laid out, a part of it may be seen, and then for a moment not.
    """
    terminal.send(key)
    await terminal.wait_for(lambda: all(words in terminal.text for words in (said, *more)))
    await close(terminal, said)


async def paste(terminal: Terminal, key: str, asks: str, answer: str) -> None:
    """Open a line to type into, which asks for something; paste all that is harmful, see the answer, close the line."""
    terminal.send(key)
    await terminal.wait_for(asks)
    terminal.send(PASTED)
    await terminal.wait_for(answer)
    await close(terminal, answer)


async def do(terminal: Terminal, key: str, button: str, done: str) -> None:
    """Confirm an action, and wait until the log says that it is done."""
    terminal.send(key)
    await terminal.wait_for("As seen")
    await terminal.wait_for(lambda: is_bold(terminal, "Cancel"))
    await press(terminal, RIGHT, button)
    terminal.send(ENTER)
    await terminal.wait_for(lambda: "As seen" not in terminal.text and done in terminal.text)


# The drive

ROOM, PERSON, AGENT = f"⚑{SHOWN}", "person    active", "agent-AJ_"
"""What only their rows say."""
CLOSED = "session closed by operator  "
"""What only a line of the log says: the log's title counts them, and then goes on otherwise."""
TARGET = f"│  {SHOWN}"
"""A line of a dialog that begins with the name."""
SHIFT_TAB = "\x1b[Z"


async def find(terminal: Terminal) -> None:
    """Filter for the room with everything in its name, and select it."""
    terminal.send("/")
    await terminal.wait_for("words to filter by")
    terminal.send("\\x9c\\x90")
    await terminal.wait_for(lambda: re.search(" 1/[0-9]+ ─╯", terminal.text))
    await press(terminal, ENTER, ROOM)
    await terminal.wait_for("session  open")


async def look_at_everything(terminal: Terminal, rooms: int) -> None:
    """Open all that can be opened of the room with everything in its names; end its session, its agent and itself."""
    await terminal.wait_for(lambda: f"{rooms} rooms" in terminal.text and "not read yet" not in terminal.text)
    await paste(terminal, "/", "words to filter by", "No room matches “]0;owned")
    await find(terminal)
    for key, button in (("D", "Delete room"), ("T", "Tear down")):
        await look(terminal, key, "As seen", TARGET, button)
    await look(terminal, "a", "or type an agent name", TARGET)
    await look(terminal, "?", "lk-tui help")
    await look(terminal, "i", "Where evidence comes from")
    await paste(terminal, CTRL_P, "Search for commands", "No matches")

    await press(terminal, ENTER, AGENT)
    for key, button in (("c", "Close session"), ("x", "Shut down job"), ("K", "Kick")):
        await look(terminal, key, "As seen", TARGET, button)
    await press(terminal, "G", PERSON)
    await look(terminal, ENTER, "Esc back", "identity", "metadata")
    await look(terminal, "K", "As seen", TARGET, "Kick")
    terminal.send("y")
    await terminal.wait_for("Copied PA_")
    terminal.send("*")
    await terminal.wait_for(f"│*{ROOM}")
    await look(terminal, "K", "TO BE KNOWN")
    terminal.send("u")
    await terminal.wait_for(lambda: f"│*{ROOM}" not in terminal.text)

    await press(terminal, "g", AGENT)
    await do(terminal, "c", "Close session", "✓ close session")
    await terminal.wait_for("session closed by operator, agent stays")
    await do(terminal, "K", "Kick", "✓ kick")
    await terminal.wait_for(CLOSED)
    await press(terminal, ESCAPE, "Rooms ─")
    await do(terminal, "D", "Delete room", "✓ delete room")
    await press(terminal, SHIFT_TAB, "Closes ─")
    await press(terminal, "g", "✓ close session")
    await look(terminal, ENTER, "╭─ close session", "re-checked: PA_")
    await press(terminal, "j", CLOSED)
    await look(terminal, ENTER, "it said", f"│  room    {SHOWN}")
    await paste(terminal, "/", "words to filter by", "Nothing in the log matches")
    await look(terminal, "f", "Closes by cause")
    terminal.send("w")
    await terminal.wait_for("Saved ")


# What is left behind


async def closes(environment: dict[str, str], *options: str) -> str:
    """What is printed of the history."""
    done = await completed([LK_TUI, "closes", *options], environment, Path(environment["HOME"]))
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def rooms_told(lines: Iterable[str]) -> set[str]:
    """The rooms that these lines of JSON tell of."""
    return {json.loads(line)["room"]["name"] for line in lines}


async def test_all_that_strangers_wrote_is_shown_and_the_terminal_is_sent_nothing_of_it(tmp_path: Path) -> None:
    texts = [HARMFUL, *(text for text in HOSTILE.values() if text)]
    config = tmp_path / "config.toml"
    config.write_text("[patience]\nkicked_s = 1\nwatch_name_s = 1\n", "utf-8")
    command = [LK_TUI, "--interval", "0.5", "--observe", "0", "--config", str(config)]
    async with (
        served(texts, tmp_path) as environment,
        Terminal(command, environment=environment, cwd=tmp_path, columns=120, rows=50) as terminal,
    ):
        await look_at_everything(terminal, len(texts))
        terminal.send("q")
        assert await terminal.exit_code() == 0
        assert assert_sent_nothing_of_it(terminal).startswith("PA_")
        (saved,) = tmp_path.glob("lk-tui-log-*.jsonl")
        told = {
            "the log": (tmp_path / "log").read_text("utf-8"),
            "what was saved": saved.read_text("utf-8"),
            "the history": await closes(environment),
            "the history as JSON": await closes(environment, "--json"),
        }
        for name, text in told.items():
            assert text.replace("\n", "").isprintable(), name
        assert rooms_told(told["what was saved"].splitlines()) == {HARMFUL}
        assert {close["room"]["name"] for close in json.loads(told["the history as JSON"])} == {HARMFUL}


# Inside a session, on a real server with a real agent


async def look_into_its_session(terminal: Terminal, person: LabPerson) -> None:
    """Have the person say all that is harmful, write it to the agent likewise; open, save and copy what comes of it."""
    await find(terminal)
    await press(terminal, SHIFT_TAB, "Closes ─")
    await press(terminal, SHIFT_TAB, f"agent {SHOWN}")
    terminal.send(ENTER)
    await terminal.wait_for("● answering")
    await person.room.local_participant.send_text(HARMFUL, topic="lk.chat")
    await terminal.wait_for(lambda: re.search("You said:.*\n.*" + re.escape(SHOWN), terminal.text))
    await look(terminal, ENTER, "Esc back", "│  text")
    await paste(terminal, "/", "words to look for", "Nothing said holds these words")
    terminal.send("w")
    await terminal.wait_for("Saved ")
    terminal.send("y")
    await terminal.wait_for("Copied what was said")
    terminal.send("t")
    await terminal.wait_for("what to say")
    terminal.send(PASTED)
    await terminal.wait_for("│  ]0;owned ")
    terminal.send(ENTER)
    await terminal.wait_for("As seen")
    await close(terminal, "As seen")
    for key, button in (("c", "Close session"), ("x", "Shut down job"), ("v", "Silence agent")):
        await look(terminal, key, "As seen", TARGET, button)
    await press(terminal, TAB, "Now")
    await look(terminal, ENTER, "Esc back", "metadata")
    terminal.send("q")
    await terminal.wait_for("Closes ─")


async def test_all_that_is_said_in_a_session_is_shown_and_the_terminal_is_sent_nothing_of_it(
    lab_server: LabServer, lab_worker: LabWorker, tmp_path: Path
) -> None:
    try:
        async with lab_server.client() as livekit:
            await livekit.room.create_room(api.CreateRoomRequest(name=HARMFUL, metadata='{"llm": "scripted"}'))
            async with await join(lab_server, HARMFUL, HARMFUL) as person:
                ready = await lab_worker.wait_for("ready", room=HARMFUL)
                await livekit.room.update_participant(
                    api.UpdateParticipantRequest(
                        room=HARMFUL,
                        identity=str(ready["identity"]),
                        name=HARMFUL,
                        attributes={"lk.agent.name": HARMFUL, HARMFUL: HARMFUL},
                    )
                )
                environment = clean_environment(tmp_path, **lab_server.variables)
                command = [LK_TUI, "--interval", "0.5", "--observe", "0"]
                async with Terminal(command, environment=environment, cwd=tmp_path, columns=120, rows=50) as terminal:
                    await look_into_its_session(terminal, person)
                    terminal.send("q")
                    assert await terminal.exit_code() == 0
        assert "You said: " in assert_sent_nothing_of_it(terminal)
        saved = list(tmp_path.glob("lk-tui-session-*"))
        assert {path.suffix for path in saved} == {".jsonl", ".txt"}
        for path in saved:
            assert path.read_text("utf-8").replace("\n", "").isprintable()
    finally:
        lab_server.delete_room(HARMFUL)
