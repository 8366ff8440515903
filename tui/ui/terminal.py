"""The terminal under the dashboard: whether there is one, and the end of the program when it goes away."""

from __future__ import annotations

import os
import select
import signal
import threading

KEYBOARD, SCREEN = 0, 2
"""File descriptors: Textual reads standard input and draws on standard error (`textual.drivers.linux_driver`)."""

HUNG_UP = 128 + signal.SIGHUP
"""With what the program ends when its terminal is gone; to a shell the same as its death by SIGHUP."""


def has_terminal() -> bool:
    """Whether somebody can see the screen and type; either may be redirected, or closed."""
    return os.isatty(KEYBOARD) and os.isatty(SCREEN)


def end_with_terminal() -> None:
    """End the program together with its terminal, from now on. To be called once, from the main thread.

    A terminal that is closed ends it at once, also where SIGHUP is ignored (nohup, some supervisors): Textual 8.2.8
    would spin there at 100 % CPU. SIGTERM ends it as SIGINT does, on which Textual restores the terminal and leaves.
    """
    # A shell without job control starts what is in its background with SIGINT ignored, and asyncio leaves that so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    threading.Thread(target=_end_at_hang_up, name="terminal", daemon=True).start()


def _end_at_hang_up() -> None:
    """Wait for a hang-up, in a thread, because the event loop may be stuck by then: Textual's writer has died of the
    closed terminal, and its queue fills up. For the same reason there is no orderly way out."""
    poll = select.poll()
    # No event is asked for, so that keys don't wake us: a hang-up is reported all the same.
    poll.register(KEYBOARD, 0)
    if any(seen & (select.POLLHUP | select.POLLERR) for _, seen in poll.poll()):
        os._exit(HUNG_UP)
