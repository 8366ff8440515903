"""The commands that change something on a server: close-session, shutdown, kick, delete, teardown."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable
from typing import Any

import click

from tui.cli.options import (
    BUDGET,
    CONFIG,
    CONNECTION,
    EXIT_FAILED,
    EXIT_OF_FAILURE,
    EXIT_REFUSED,
    HISTORY,
    OPERATOR,
    READ_ONLY,
    SEEN_BY_ALL,
    connection_from,
    history_from,
    is_read_only,
    or_end,
    seconds_from,
    together,
)
from tui.config import DEFAULT_BUDGET, default_operator, load_config
from tui.model.action import Action
from tui.model.signs import SignCode

SIGNS = (SignCode.SILENT, SignCode.WAITING, SignCode.STUCK, SignCode.CLOSED, SignCode.ALONE, SignCode.DOUBLE)
"""Those that show without a history: no kick of before is known, and no room is read late."""

_TARGETS = together(
    click.option(
        "--room",
        multiple=True,
        metavar="PATTERN",
        help="Rooms of this name, with this SID, or whose name matches: 'sales-*'. May be given several times.",
    ),
    click.option(
        "--sign",
        multiple=True,
        type=click.Choice([sign.value for sign in SIGNS]),
        help="Rooms that show this sign for as long as it takes to be one: they are watched.",
    ),
    click.option("--older-than", default=None, metavar="TIME", help="Rooms older than 90s, 15m, 2h, 1d."),
    click.option("--all", "everything", is_flag=True, help="All rooms."),
)
_IDENTITY = click.option(
    "--identity",
    multiple=True,
    metavar="PATTERN",
    help="Only participants of this identity, SID or agent name, or matching: 'agent-*'.",
)
_HOW = together(
    click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing."),
    click.option("--yes", is_flag=True, help="Don't ask."),
    click.option("--json", "json_", is_flag=True, help="As JSON, a documented contract."),
    READ_ONLY,
    OPERATOR,
    HISTORY,
    CONFIG,
    BUDGET,
)


def _command(name: str, action: Action, words: str, *, to_participants: bool) -> click.Command:
    @click.command(name, help=words)
    @CONNECTION
    @_TARGETS
    @(_IDENTITY if to_participants else together())
    @_HOW
    def command(**flags: Any) -> None:
        _act(action, **flags)

    return command


ACTING = (
    _command(
        "close-session",
        Action.CLOSE_SESSION,
        "Close the sessions of agents that run the helper. The agents and the rooms stay.",
        to_participants=True,
    ),
    _command(
        "shutdown",
        Action.SHUT_DOWN_JOB,
        "Shut the jobs of agents down. The agents leave, the rooms stay.",
        to_participants=True,
    ),
    _command(
        "kick",
        Action.KICK,
        "Cut the connection of the agents in these rooms, or of the participants named with --identity. A kick is not "
        "a ban: a person may come back.",
        to_participants=True,
    ),
    _command(
        "delete",
        Action.DELETE_ROOM,
        "Delete rooms. Everyone in them is cut off.",
        to_participants=False,
    ),
    _command(
        "teardown",
        Action.TEAR_DOWN,
        "Tear rooms down: close the sessions, shut the jobs down, kick what is left, delete the room; each verified.",
        to_participants=False,
    ),
)


def _act(
    action: Action,
    *,
    room: tuple[str, ...],
    sign: tuple[str, ...],
    older_than: str | None,
    everything: bool,
    dry_run: bool,
    yes: bool,
    json_: bool,
    identity: tuple[str, ...] = (),
    **flags: Any,
) -> None:
    if not (room or sign or older_than or identity or everything):
        raise click.UsageError("which rooms? Name them with --room, --sign, --older-than, or --all")
    if everything and (room or sign or older_than):
        raise click.UsageError("--all and a choice of rooms exclude each other")
    if not (yes or dry_run or sys.stdin.isatty()):
        raise click.UsageError("nobody can be asked here: give --yes, or --dry-run to see what would be done")
    older_than_s = seconds_from("--older-than", older_than) if older_than is not None else 0.0
    config = or_end(lambda: load_config(flags["config"]))
    history = history_from(flags)
    if flags["api_secret"]:
        _say(SEEN_BY_ALL)
    if is_read_only(flags) and not dry_run:
        _say("lk-tui is read-only: nothing was sent")
        sys.exit(EXIT_REFUSED)
    connection = connection_from(flags)
    from tui.gateway.errors import GatewayError
    from tui.oneshot import act
    from tui.oneshot.choose import Choice, seconds_to_watch

    choice = Choice(room, identity, frozenset(map(SignCode, sign)), older_than_s)
    if sign:
        _say(f"watching for {seconds_to_watch(choice.signs, config.thresholds):.0f} s: what lasts is a sign")
    try:
        many = asyncio.run(
            act.plan_for(connection, action, choice, config.thresholds, flags["budget"] or DEFAULT_BUDGET)
        )
    except GatewayError as error:
        _say(str(error))
        sys.exit(EXIT_OF_FAILURE.get(error.kind, EXIT_FAILED))
    except KeyboardInterrupt:
        _say("interrupted: nothing was sent")
        sys.exit(EXIT_FAILED)
    if dry_run or not many.plans:
        lines = act.plan_lines(many) if many.plans or many.blocked else ("nothing matches: there is nothing to do",)
        nothing_done = None if dry_run else ()
        _print(act.as_json(many, nothing_done, connection.url, time.time()) if json_ else lines)
        sys.exit(act.exit_code(many, nothing_done))
    if not yes:
        _print(act.plan_lines(many), err=True)
        _confirm(many.word or "yes", connection.project, connection.url)
    operator = flags["operator"] or default_operator()
    try:
        records = asyncio.run(
            act.carry_out(connection, many, operator, patience=config.patience, history=history, say=_say)
        )
    except (KeyboardInterrupt, asyncio.CancelledError):
        _say("ended at once: what was sent last is not verified")
        sys.exit(EXIT_FAILED)
    _print(act.as_json(many, records, connection.url, time.time()) if json_ else act.result_lines(records))
    sys.exit(act.exit_code(many, records))


def _confirm(word: str, project: str, url: str) -> None:
    try:
        typed = click.prompt(f"\nOn {project}, {url}: type {word} to go on", default="", show_default=False, err=True)
    except click.Abort:
        typed = ""
    if typed.strip() != word:
        _say("not confirmed: nothing was sent")
        sys.exit(EXIT_REFUSED)


def _print(text: str | Iterable[str], *, err: bool = False) -> None:
    for line in [text] if isinstance(text, str) else text:
        click.echo(line, err=err)


def _say(words: str) -> None:
    click.echo(f"lk-tui: {words}", err=True)
