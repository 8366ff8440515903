"""The command line: the dashboard, the demo, and what can be read without them (`tui.cli.act` changes something)."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import sys
import time
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tui import __version__
from tui.cli.act import ACTING
from tui.cli.options import (
    BUDGET,
    CONFIG,
    CONNECTION,
    EXIT_FAILED,
    EXIT_OF_FAILURE,
    EXIT_USAGE,
    HISTORY,
    OPERATOR,
    READ_ONLY,
    SEEN_BY_ALL,
    connection_from,
    history_from,
    history_path,
    is_read_only,
    or_end,
    seconds_from,
    together,
)
from tui.config import DEFAULT_BUDGET, Config, Sources, default_operator, listen_address, load_config
from tui.garbage import Collector, hold_collections_back
from tui.model.text import safe_text
from tui.settings import Connection

if TYPE_CHECKING:
    from tui.ui.bars import Where

DEMO_BUDGET = 6_000
"""The demo's server is this very process: nobody else needs its requests."""
SWITCH_S = 0.0005
"""How long a thread that wants the interpreter waits for it; Python's own is 5 ms."""


@dataclass(frozen=True, slots=True)
class View:
    """How to watch, wherever the server comes from."""

    config: Config
    operator: str
    sources: Sources
    history: Path | None
    read_only: bool


_VIEW = together(
    CONFIG,
    BUDGET,
    OPERATOR,
    click.option(
        "--interval", type=click.FloatRange(min=0.2, max=3600), default=2.0, help="Seconds between two polls."
    ),
    READ_ONLY,
    click.option(
        "--observe",
        type=click.IntRange(0, 50),
        default=None,
        help="Rooms observed from inside at once: the open one, then those on screen.  [default: 1; read-only: 0]",
    ),
    click.option("--no-probe", is_flag=True, help="Don't ask agents whether they still answer."),
    click.option("--no-inspect", is_flag=True, help="Don't look into agents' sessions."),
    HISTORY,
)
_WEBHOOK = click.option("--webhook", metavar="[HOST:]PORT", help="Listen for LiveKit's webhooks.")


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lk-tui")
@CONNECTION
@_VIEW
@_WEBHOOK
@click.pass_context
def cli(context: click.Context, /, **flags: Any) -> None:
    """Supervise live LiveKit rooms from a terminal: see who waits, what agents do, and act at exactly the strength
    you mean.

    Without a command, the dashboard opens on the first of: the options below, the environment (LIVEKIT_URL,
    LIVEKIT_API_KEY, LIVEKIT_API_SECRET), a .env file here, the LiveKit CLI's default project.
    """
    if context.invoked_subcommand is not None:
        given = [name for name in flags if _given(context, name)]
        if given:
            option = "--" + given[0].replace("_", "-")
            raise click.UsageError(f"{option} goes after the command: lk-tui {context.invoked_subcommand} {option} …")
        return
    view = _view(flags, DEFAULT_BUDGET, history=True)
    connection = connection_from(flags)

    @asynccontextmanager
    async def connect() -> AsyncIterator[Connection]:
        yield connection

    hold_collections_back()
    from tui.ui.bars import Where

    where = Where(
        connection.project, connection.url, connection.source, read_only=view.read_only, insecure=connection.insecure
    )
    _run(connect, where, view, SEEN_BY_ALL if flags["api_secret"] else "")


@cli.command()
@_VIEW
@click.option("--rooms", type=click.IntRange(1, 20_000), default=40, help="How many rooms.", show_default=True)
@click.option("--seed", type=int, default=None, help="The same seed gives the same traffic.")
def demo(rooms: int, seed: int | None, **flags: Any) -> None:
    """Open the dashboard on a built-in server with simulated calls, agents and troubles. Every action works on it."""
    # Its closes are not of this world: they are kept only where a place for them is named.
    view = _view(flags, DEMO_BUDGET, history=flags["history"] is not None)

    @asynccontextmanager
    async def connect() -> AsyncIterator[Connection]:
        from tui.demo import DemoService, DemoSessions, World

        world = World(seed if seed is not None else os.getpid(), rooms)
        async with DemoService(world) as service:
            from tui.model.secret import Secret

            secret = Secret(service.api_secret)
            lines = DemoSessions(world)
            yield Connection(service.url, service.api_key, secret, "demo", "lk-tui demo", lines)

    hold_collections_back()
    from tui.ui.bars import Where

    _run(connect, Where("demo", "starting …", "lk-tui demo", demo=True, read_only=view.read_only), view)


@cli.command()
@CONNECTION
@CONFIG
@BUDGET
@click.option("--json", "json_", is_flag=True, help="As JSON, a documented contract.")
def rooms(*, json_: bool, budget: int | None, config: Path | None, **flags: Any) -> None:
    """Read all rooms once, print them with participants, agents and signs, trouble first, and exit."""
    if flags["api_secret"]:
        click.echo(f"lk-tui: {SEEN_BY_ALL}", err=True)
    connection = connection_from(flags)
    thresholds = or_end(lambda: load_config(config)).thresholds
    from tui.gateway.errors import GatewayError
    from tui.oneshot import rooms as command

    try:
        snapshot = asyncio.run(command.read_once(connection, budget or DEFAULT_BUDGET))
    except GatewayError as error:
        click.echo(f"lk-tui: {error}", err=True)
        sys.exit(EXIT_OF_FAILURE.get(error.kind, EXIT_FAILED))
    rows = command.rows_of(snapshot, thresholds)
    click.echo((command.as_json if json_ else command.as_text)(rows, snapshot.at))


@cli.command()
@click.option("--since", default=None, metavar="TIME", help="Only closes of the last 90s, 15m, 1h, 2d, 1w.")
@click.option("--room", default="", help="Only rooms whose name holds this.")
@click.option("--cause", default=None, help="Only this cause, or those with this word in them: error, operator, room.")
@click.option("--project", default="", help="Only this server, by its URL.")
@click.option("--json", "json_", is_flag=True, help="As JSON, a documented contract: an array; with --follow, lines.")
@click.option("--follow", is_flag=True, help="Go on, with every close that is new or of which more becomes known.")
@click.option("--history", type=click.Path(path_type=Path), help="The history to read, if not the usual one.")
def closes(
    *, since: str | None, room: str, cause: str | None, project: str, json_: bool, follow: bool, history: Path | None
) -> None:
    """Print why agents' sessions closed, from what lk-tui kept. Needs no server."""
    from tui.history.errors import HistoryError
    from tui.history.file import Wanted
    from tui.oneshot import closes as command

    try:
        wanted = Wanted(
            since=time.time() - seconds_from("--since", since) if since is not None else 0.0,
            room=room,
            causes=command.causes_of(cause) if cause is not None else frozenset(),
            project=project.rstrip("/"),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    path = history_path(history)
    try:
        if not command.is_there(path):
            click.echo(f"lk-tui: there is no history yet: {safe_text(str(path), 4096)}", err=True)
        found = (command.follow if follow else command.read)(path, wanted)
        if json_:
            pieces = map(command.as_json_line, found) if follow else command.as_json(found)
        else:
            server = not project and command.holds_several(path)
            pieces = (command.as_line(kept, server=server) for kept in found)
        for piece in pieces:
            click.echo(piece)
    except HistoryError as error:
        click.echo(f"lk-tui: {error}", err=True)
        sys.exit(EXIT_FAILED)
    except BrokenPipeError:
        # Whoever read has seen enough. What is still to be flushed must not fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        # The way to end --follow.
        return


for acting in ACTING:
    cli.add_command(acting)


def main() -> None:
    """The `lk-tui` command."""
    if not sys.warnoptions:
        # They are for the libraries' developers: PyJWT's about a short secret would stand above what we say ourselves.
        warnings.simplefilter("ignore")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Printable is not the same as known to an old locale.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        _log()
    except OSError as error:
        click.echo(f"lk-tui: LK_TUI_LOG can't be written: {error.strerror}", err=True)
        sys.exit(EXIT_USAGE)
    cli(prog_name="lk-tui")


def _log() -> None:
    """Keep what libraries and our own faults log off the screen: it goes to the file LK_TUI_LOG, or nowhere."""
    path = os.environ.get("LK_TUI_LOG")
    handler = logging.FileHandler(path, encoding="utf-8") if path else logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)


def _run(
    connect: Callable[[], AbstractAsyncContextManager[Connection]], where: Where, view: View, warning: str = ""
) -> None:
    """The dashboard, until it ends, and the program with it."""
    from tui.ui.app import Supervisor
    from tui.ui.terminal import end_with_terminal, has_terminal

    if not has_terminal():
        click.echo(
            "lk-tui: the dashboard needs a terminal, and not a dumb one: without one, use `lk-tui rooms`", err=True
        )
        sys.exit(EXIT_USAGE)
    # Keys are read on a thread of its own, which has to ask for the interpreter several times for each of them: one
    # that came while a picture was taken in was known 30 ms late.
    sys.setswitchinterval(SWITCH_S)
    app = Supervisor(
        connect,
        where,
        operator=view.operator,
        config=view.config,
        sources=view.sources,
        history=view.history,
        warning=warning,
        collector=Collector(),
    )
    end_with_terminal(app.keep)
    app.run()
    sys.exit(app.return_code or 0)


def _given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _view(flags: dict[str, Any], budget: int, *, history: bool) -> View:
    read_only = is_read_only(flags)
    kept_in = history_from(flags)
    webhook = flags.get("webhook")
    # An observer is nobody's business, but it is a participant, and webhooks tell of it.
    observe = flags["observe"] if flags["observe"] is not None else 0 if read_only else 1
    return View(
        config=or_end(lambda: load_config(flags["config"])),
        operator=flags["operator"] or default_operator(),
        sources=Sources(
            flags["interval"],
            flags["budget"] or budget,
            probe=not flags["no_probe"],
            webhook=or_end(lambda: listen_address(webhook)) if webhook else None,
            observe=observe,
            inspect=not flags["no_inspect"],
        ),
        history=kept_in if history else None,
        read_only=read_only,
    )
