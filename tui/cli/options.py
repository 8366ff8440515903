"""What several commands share: their options, and what becomes of wrong ones."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tui.config import truthy
from tui.model.snapshot import FailureKind
from tui.model.text import safe_text
from tui.settings import Connection, SettingsError, resolve

Read = TypeVar("Read")

EXIT_FAILED, EXIT_USAGE, EXIT_AUTHENTICATION, EXIT_UNREACHABLE, EXIT_REFUSED = 1, 2, 3, 4, 5
EXIT_OF_FAILURE = {
    FailureKind.AUTHENTICATION: EXIT_AUTHENTICATION,
    FailureKind.UNREACHABLE: EXIT_UNREACHABLE,
    FailureKind.NOT_LIVEKIT: EXIT_UNREACHABLE,
}
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
SEEN_BY_ALL = (
    "--api-secret can be read by everyone on this machine in the list of processes: "
    "set LIVEKIT_API_SECRET in the environment and leave the flag out"
)


def together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """These options as one decorator, in this order."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


CONNECTION = together(
    click.option("--url", help="The server: ws(s):// or http(s)://. With --api-key, and the secret."),
    click.option("--api-key", help="The API key."),
    click.option("--api-secret", help="The API secret. Others can see it here: better set LIVEKIT_API_SECRET."),
    click.option("--project", help="A project from the LiveKit CLI's own configuration."),
    click.option("--dev", is_flag=True, help="The server that `livekit-server --dev` starts on this machine."),
    click.option(
        "--env-file",
        type=click.Path(path_type=Path),
        help="A file with LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET.",
    ),
)
CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="A TOML file with [thresholds] and [patience]; default: the user's config.toml.",
)
BUDGET = click.option(
    "--budget", type=click.IntRange(min=10), default=None, help="Requests a minute, at the most.  [default: 600]"
)
OPERATOR = click.option("--operator", default=None, help="Your name in logs and requests.  [default: user@host]")
READ_ONLY = click.option("--read-only", is_flag=True, help="Look, never change. Also LK_TUI_READ_ONLY=1.")
HISTORY = together(
    click.option("--history", type=click.Path(path_type=Path), help="Where closes and actions are kept."),
    click.option("--no-history", is_flag=True, help="Keep nothing."),
)


def connection_from(flags: dict[str, Any]) -> Connection:
    """The server that the options, the environment or a file names. Ends the program where none does."""

    def read() -> Connection:
        return resolve(
            url=flags["url"],
            api_key=flags["api_key"],
            api_secret=flags["api_secret"],
            project=flags["project"],
            dev=flags["dev"],
            env_file=flags["env_file"],
            environ=os.environ,
            cwd=Path.cwd(),
            home=Path.home(),
        )

    return or_end(read)


def is_read_only(flags: dict[str, Any]) -> bool:
    """Whether nothing may be changed, by the option or the environment."""
    return flags["read_only"] or or_end(lambda: truthy(os.environ.get("LK_TUI_READ_ONLY"), "LK_TUI_READ_ONLY"))


def history_from(flags: dict[str, Any]) -> Path | None:
    """Where the history is to be kept, None for nowhere."""
    if flags["history"] is not None and flags["no_history"]:
        raise click.UsageError("--history and --no-history exclude each other")
    return None if flags["no_history"] else history_path(flags["history"])


def history_path(named: Path | None) -> Path:
    """The history that is named, or else the usual one."""
    from tui.history.file import default_path

    return named or default_path()


def seconds_from(option: str, text: str) -> float:
    """`90s`, `15m`, `1h`, `2d` or `1w`, the value of an option, in seconds. Ends the program for anything else."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", text.strip().lower(), re.ASCII)
    if found is None:
        wanted = "a number and a unit are wanted: 90s, 15m, 1h, 2d or 1w"
        raise click.UsageError(f"{option} {safe_text(text)}: {wanted}")
    return float(found[1]) * _UNITS[found[2]]


def or_end(read: Callable[[], Read]) -> Read:
    """What is read; wrong settings are said, and end the program."""
    try:
        return read()
    except SettingsError as error:
        click.echo(f"lk-tui: {error}", err=True)
        sys.exit(EXIT_USAGE)
