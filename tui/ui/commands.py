"""Every command, once: its keys, its words and what it does.

The bindings, the key bar, the palette, the help screen and README's key table are all made from this list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Flag, StrEnum, auto

from textual.binding import Binding, BindingType

from tui.model.action import INSIDE, Action


class Group(StrEnum):
    """The parts of the help screen; those of `MOVE` are bound in every table, the others on screens."""

    MOVE = "Move and mark"
    ACT = "Act on what is selected, or on all that is marked"
    LOOK = "Look"
    SESSION = "In an agent's session"
    PROGRAM = "lk-tui"


class On(Flag):
    """The screens that have a command."""

    MAIN = auto()
    SESSION = auto()
    BOTH = MAIN | SESSION


@dataclass(frozen=True, slots=True)
class Command:
    """One command: `run` is the Textual action behind it, `changes` the action on the server, where it is one.

    `bar` is its place in the key bar, 0 for none; where that is narrow it uses `short` and drops the highest numbers.
    """

    id: str
    keys: str
    label: str
    help: str
    group: Group
    run: str
    changes: Action | None = None
    bar: int = 0
    short: str = ""
    on: On = On.BOTH

    @property
    def key_words(self) -> str:
        """The keys as a person reads them: `↑ k`, `G End`."""
        return " ".join(_KEY_WORDS.get(key, key) for key in self.keys.split(","))

    @property
    def first_key(self) -> str:
        """The first of its keys, as a person reads it."""
        return self.key_words.split()[0]


_KEY_WORDS = {
    "up": "↑",
    "down": "↓",
    "home": "Home",
    "end": "End",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "enter": "Enter",
    "escape": "Esc",
    "slash": "/",
    "question_mark": "?",
    "asterisk": "*",
    "space": "Space",
    "colon": ":",
    "ctrl+p": "Ctrl+P",
    "ctrl+b": "Ctrl+B",
    "ctrl+f": "Ctrl+F",
    "ctrl+z": "Ctrl+Z",
    "tab": "Tab",
    "shift+tab": "Shift+Tab",
}


def _act(key: str, action: Action, short: str, bar: int, sentence: str) -> Command:
    inside = action in INSIDE
    group, on = (Group.SESSION, On.SESSION) if inside else (Group.ACT, On.BOTH)
    run = f"act('{action.value}')"
    return Command(action.name.lower(), key, action.value, sentence, group, run, action, bar, short, on)


COMMANDS: tuple[Command, ...] = (
    Command("up", "up,k", "up", "Select the row above.", Group.MOVE, "move(-1)"),
    Command("down", "down,j", "down", "Select the row below.", Group.MOVE, "move(1)"),
    Command("first", "home,g", "first", "Select the first row.", Group.MOVE, "move_to_end(False)"),
    Command("last", "end,G", "last", "Select the last row; in the log, follow again.", Group.MOVE, "move_to_end(True)"),
    Command("page_up", "pageup,ctrl+b", "page up", "Move up by a screenful.", Group.MOVE, "move_page(-1)"),
    Command("page_down", "pagedown,ctrl+f", "page down", "Move down by a screenful.", Group.MOVE, "move_page(1)"),
    Command("mark", "space", "mark", "Mark the selected room or participant, or unmark it; go on.", Group.MOVE, "mark"),
    Command(
        "mark_range",
        "m",
        "mark range",
        "Mark all from the one marked last to the selected one.",
        Group.MOVE,
        "mark_range",
    ),
    Command(
        "mark_all",
        "asterisk",
        "mark all",
        "Mark all that the filter shows; where all are marked, unmark them.",
        Group.MOVE,
        "mark_all",
    ),
    Command("unmark", "u", "unmark all", "Take all marks away, hidden ones too.", Group.MOVE, "unmark_all"),
    Command(
        "open",
        "enter",
        "open",
        "Open what is selected: a room's participants, an agent's session, all about a participant, a line's story.",
        Group.LOOK,
        "open",
        bar=12,
    ),
    Command(
        "back",
        "escape",
        "back",
        "Go back: close a dialog or a session, clear the filter, return to the rooms.",
        Group.LOOK,
        "back",
    ),
    Command("next_pane", "tab", "next pane", "Go to the next pane.", Group.LOOK, "next_pane(1)"),
    Command("previous_pane", "shift+tab", "previous pane", "Go to the pane before.", Group.LOOK, "next_pane(-1)"),
    _act("c", Action.CLOSE_SESSION, "close", 2, "End the agent's session; the agent and the room stay."),
    _act("x", Action.SHUT_DOWN_JOB, "shut down", 3, "End the agent's job; the agent leaves, the room stays."),
    _act("K", Action.KICK, "kick", 4, "Cut one participant's connection; its dispatch stays, a person may come back."),
    _act("D", Action.DELETE_ROOM, "delete", 5, "Put everyone out and delete the room."),
    _act(
        "T",
        Action.TEAR_DOWN,
        "tear down",
        6,
        "Close the sessions, shut down the jobs, delete the room, each step verified.",
    ),
    _act("F", Action.REPAIR_ROOM, "repair", 0, "Have a ghost room taken over by a live node, and delete it there."),
    _act("a", Action.DISPATCH_AGENT, "dispatch", 7, "Order an agent into the room: the remedy where people wait."),
    Command("stop", "S", "stop", "Stop the actions that are running, between two steps.", Group.ACT, "stop_actions"),
    Command(
        "filter",
        "slash",
        "filter",
        "Show only the rooms, or lines of the log or the conversation, that hold these words.",
        Group.LOOK,
        "filter",
        bar=8,
    ),
    Command(
        "causes",
        "f",
        "causes",
        "Show only closes of one cause; says how many of each there were in the last hour.",
        Group.LOOK,
        "causes",
        bar=14,
        on=On.MAIN,
    ),
    Command(
        "jump",
        "o",
        "jump",
        "Go from a line of the log to its room, and from a room to its newest close.",
        Group.LOOK,
        "jump",
        bar=15,
        on=On.MAIN,
    ),
    Command("sort", "s", "sort", "Sort by the next column.", Group.LOOK, "sort(1)", bar=9, on=On.MAIN),
    Command("reverse", "R", "reverse", "Turn the order round.", Group.LOOK, "reverse", on=On.MAIN),
    Command("pause", "p", "pause", "Hold the picture still; polling goes on.", Group.LOOK, "pause", bar=10, on=On.MAIN),
    Command("refresh", "r", "refresh", "Ask the server now.", Group.LOOK, "refresh_now", bar=11),
    Command(
        "save",
        "w",
        "save",
        "Save the log, or the conversation, as it is shown in this folder: as JSON lines, the latter as text too.",
        Group.LOOK,
        "save",
    ),
    Command(
        "sources", "i", "sources", "Show where evidence comes from, and what is off.", Group.LOOK, "sources", on=On.MAIN
    ),
    Command("copy", "y", "copy", "Copy the selected name, or what was said.", Group.LOOK, "copy(False)"),
    Command("copy_id", "Y", "copy id", "Copy the selected SID.", Group.LOOK, "copy(True)"),
    _act("t", Action.SAY_TO_AGENT, "say", 8, "Send the session a line of text as the user would: “wrap up now”."),
    _act("v", Action.SILENCE_AGENT, "silence", 9, "Switch the agent's voice off; it goes on listening."),
    _act("V", Action.UNSILENCE_AGENT, "", 0, "Give the agent its voice back."),
    _act("e", Action.DEAFEN_AGENT, "deafen", 10, "Switch the agent's ears off; it may go on talking."),
    _act("E", Action.UNDEAFEN_AGENT, "", 0, "Give the agent its ears back."),
    Command(
        "statistics",
        "n",
        "network",
        "Ask for the statistics of the agent's connection, or stop asking: round trip, loss, jitter.",
        Group.SESSION,
        "statistics",
        bar=13,
        on=On.SESSION,
    ),
    Command(
        "help",
        "question_mark",
        "help",
        "Show the keys, the signs and what each action does.",
        Group.PROGRAM,
        "help",
        bar=1,
    ),
    Command(
        "palette",
        "ctrl+p,colon",
        "commands",
        "Find a command by its name.",
        Group.PROGRAM,
        "app.command_palette",
    ),
    Command(
        "suspend",
        "ctrl+z",
        "suspend",
        "Leave the terminal to the shell; its `fg` comes back. Nothing is polled meanwhile.",
        Group.PROGRAM,
        "app.suspend_process",
    ),
    Command(
        "quit",
        "q",
        "quit",
        "Leave lk-tui; nothing changes on the server.",
        Group.PROGRAM,
        "app.quit",
        bar=13,
        on=On.MAIN,
    ),
)

BY_ID = {command.id: command for command in COMMANDS}
BY_ACTION = {command.changes: command for command in COMMANDS if command.changes is not None}


def commands(screen: On) -> Iterator[Command]:
    """The commands that this screen has, besides those of its tables."""
    return (command for command in COMMANDS if command.group is not Group.MOVE and screen in command.on)


def bindings(chosen: Iterable[Command]) -> list[BindingType]:
    """Textual bindings for these commands; each has its command's id, so that it can be rebound."""
    return [Binding(command.keys, command.run, command.label, show=False, id=command.id) for command in chosen]


TABLE_COMMANDS = tuple(command for command in COMMANDS if command.group is Group.MOVE)
"""Those that every table has."""


def readme_table() -> Iterator[str]:
    """README's key table, line by line (Markdown)."""
    yield "| Key | Command | What it does |"
    yield "|---|---|---|"
    for command in COMMANDS:
        keys = " ".join(f"`{key}`" for key in command.key_words.split())
        yield f"| {keys} | {command.label} | {command.help} |"


ACTION_TABLE: tuple[tuple[str, str, str, str, str], ...] = (
    ("close session", "ends", "stays", "stays", "stay connected"),
    ("shut down job", "ends", "leaves", "stays", "stay connected"),
    ("kick", "ends, if it is an agent's", "that one leaves; a person may come back", "stays", "that one is cut off"),
    ("delete room", "ends", "leaves", "is gone", "are all cut off"),
    ("tear down", "is closed first", "is shut down next, else kicked", "is deleted last", "are cut off last"),
    (
        "repair room",
        "a new one may start, and ends",
        "a new one may join, and leaves",
        "a ghost is gone",
        "leave the list",
    ),
    ("dispatch agent", "a new one starts", "a new one joins", "stays", "stay connected"),
)
"""What each action does to: session, agent, room, people. Shown on the help screen and in README."""
