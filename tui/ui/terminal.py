"""The terminal under the dashboard: whether there is one, and the end of the program when it goes away."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable

KEYBOARD, SCREEN = 0, 2
"""File descriptors: Textual reads standard input and draws on standard error (`textual.drivers.linux_driver`)."""

HUNG_UP = 128 + signal.SIGHUP
"""With what the program ends when its terminal is gone; to a shell the same as its death by SIGHUP."""
LAST_S = 0.8
"""How long the end may take of a program whose terminal is gone."""


def has_terminal() -> bool:
    """Whether somebody can see the screen and type; either may be redirected, or closed.

    A dumb terminal is none. Textual 8.2.8 would draw on it all the same, again and again: Rich takes it to be 80×25.
    """
    is_dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return os.isatty(KEYBOARD) and os.isatty(SCREEN) and not is_dumb


def end_with_terminal(keep: Callable[[float], None]) -> None:
    """End the program together with its terminal, from now on. To be called once, from the main thread.

    A terminal that is closed ends it within a second, also where SIGHUP is ignored (nohup, some supervisors): Textual
    8.2.8 would spin there at 100 % CPU. `keep` is called for that, in another thread, with how long it may take to
    write down what must not be lost. SIGTERM, and SIGHUP where the terminal is still there, end it as SIGINT does, on
    which Textual restores the terminal and leaves.
    """
    # A shell without job control starts what is in its background with SIGINT ignored, and asyncio leaves that so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None if _is_gone(0) else signal.raise_signal(signal.SIGINT))
    threading.Thread(target=_end_at_hang_up, args=(keep,), name="terminal", daemon=True).start()


def _end_at_hang_up(keep: Callable[[float], None]) -> None:
    """Wait for a hang-up, in a thread, because the event loop may be stuck by then: Textual's writer has died of the
    closed terminal, and its queue fills up. For the same reason there is no orderly way out."""
    if _is_gone():
        try:
            keep(LAST_S)
        finally:
            os._exit(HUNG_UP)


def _is_gone(patience_ms: int | None = None) -> bool:
    """Whether the terminal has hung up, by then; without `patience_ms`, only when it does."""
    poll = select.poll()
    # No event is asked for, so that keys don't wake us: a hang-up is reported all the same.
    poll.register(KEYBOARD, 0)
    return any(seen & (select.POLLHUP | select.POLLERR) for _, seen in poll.poll(patience_ms))
