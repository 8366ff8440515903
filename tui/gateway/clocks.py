"""Whether the server's clock and this machine's agree: tokens that are valid for a minute need that, and so do ages."""

from __future__ import annotations

from email.utils import parsedate_to_datetime


def skew_s(date: str, sent_at: float, received_at: float) -> float | None:
    """By how many seconds the server's clock is ahead of ours, by the `Date` header of an answer; None if unreadable.

    `sent_at` and `received_at` are seconds since 1970 by our clock, and the header has whole seconds: what these leave
    open is taken for agreement, so that a slow answer is not mistaken for a wrong clock.
    """
    try:
        said = parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None
    least, most = said - received_at, said + 1.0 - sent_at
    return 0.0 if least <= 0.0 <= most else (least + most) / 2
