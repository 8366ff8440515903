"""What the user may set besides the connection: thresholds of signs, patience, read-only, the operator's name."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from tui.model.patience import Patience
from tui.model.signs import Thresholds
from tui.model.text import safe_text
from tui.settings import SettingsError, read_file

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

DEFAULT_BUDGET = 600
"""Requests a minute, well under LiveKit Cloud's limit of about 1,000 a project."""
LONGEST_S = 1e9
"""Seconds, some 30 years: the longest that can be set, in effect `never`."""
HIGHEST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Sources:
    """What is asked of each source of evidence.

    `interval_s` are the seconds between two polls, `budget` the requests a minute; `probe` says whether agents are
    asked for signs of life; `webhook` is where LiveKit's webhooks are listened for, None for not at all; `observe` is
    how many rooms may be observed from inside at once: 1 means the one that is open, 0 none. `inspect` says whether the
    sessions of agents may be looked into.
    """

    interval_s: float = 2.0
    budget: int = DEFAULT_BUDGET
    probe: bool = True
    webhook: tuple[str, int] | None = None
    observe: int = 1
    inspect: bool = True


def listen_address(text: str) -> tuple[str, int]:
    """`[HOST:]PORT` as host and port; without a host, this machine alone. Raises SettingsError."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > HIGHEST_PORT:
        raise SettingsError(f"--webhook {safe_text(text)}: a port is wanted, or HOST:PORT, as in 9000 or 0.0.0.0:9000")
    return host.strip("[]") or "127.0.0.1", int(port)


@dataclass(frozen=True, slots=True)
class Config:
    """The user's `config.toml`: its tables, by their names. All values are seconds."""

    thresholds: Thresholds = field(default_factory=Thresholds)
    patience: Patience = field(default_factory=Patience)


def load_config(path: Path | None) -> Config:
    """The tables of the TOML file at `path`, which must exist, or of the user's own `config.toml`
    (`platformdirs.user_config_path("lk-tui")`), which need not. What is not in it keeps its default.

    Raises SettingsError for a file that can't be read, an unknown key, and a value that isn't a number of seconds from
    0 to `LONGEST_S`.
    """
    if path is None:
        from platformdirs import user_config_path

        source = user_config_path("lk-tui") / "config.toml"
    else:
        source = path
    shown = safe_text(str(source), 4096)
    text = read_file(source, shown)
    if text is None:
        if path is not None:
            raise SettingsError(f"--config {shown}: there is no such file")
        return Config()
    import tomllib

    try:
        config = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise SettingsError(f"{shown} is not valid TOML: {safe_text(str(error))}") from None
    _refuse_unknown(config, [each.name for each in fields(Config)], shown)
    return Config(
        Thresholds(**_seconds(config, "thresholds", Thresholds, shown)),
        Patience(**_seconds(config, "patience", Patience, shown)),
    )


def _seconds(config: Mapping[str, object], name: str, what: type[DataclassInstance], shown: str) -> dict[str, float]:
    """The table `name` of the file, whose keys are the fields of `what`."""
    table = config.get(name, {})
    if not isinstance(table, dict):
        raise SettingsError(f"{name} in {shown} must be a table: [{name}]")
    known = [each.name for each in fields(what)]
    _refuse_unknown(table, known, f"[{name}] in {shown}")
    for key, value in table.items():
        # A TOML boolean is a Python int. The bounds refuse nan and inf as well.
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST_S:
            raise SettingsError(
                f"{key} in {shown} must be a number of seconds from 0 to {LONGEST_S:.0e} (known: {', '.join(known)})"
            )
    return {key: float(value) for key, value in table.items()}


def _refuse_unknown(table: Mapping[str, object], known: Sequence[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise SettingsError(f"unknown key {safe_text(key)} in {where} (known: {', '.join(known)})")


def truthy(value: str | None, name: str) -> bool:
    """Whether the environment variable `name` with this value (None: not set) says yes. Raises SettingsError for
    anything but 1, true, yes, on, 0, false, no, off and nothing: a misspelt read-only must not mean read-write."""
    word = (value or "").strip().lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"", "0", "false", "no", "off"}:
        return False
    raise SettingsError(f"{name}={safe_text(word)} is neither yes (1, true, yes, on) nor no (0, false, no, off, empty)")


def default_operator() -> str:
    """Who is at the keyboard, as `user@host`, printable; `unknown` for a part that the system can't tell."""
    try:
        user = getpass.getuser()
    except (KeyError, ImportError, OSError):
        # A container's user often has no entry in the password database.
        user = ""
    return safe_text(f"{user or 'unknown'}@{socket.gethostname() or 'unknown'}")
