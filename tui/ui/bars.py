"""The lines that never go away: at the top where you are and how things stand, at the bottom what the keys do."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.geometry import Region
from textual.reactive import reactive
from textual.widget import Widget

from tui.model.collapse import collapse_words
from tui.model.fleet import Totals
from tui.model.phrases import SIGN_GLYPHS, SIGN_NAMES, SIGN_TONES, Tone, age, clock_words, count, people, shorten
from tui.model.signs import WORST_FIRST
from tui.model.snapshot import Snapshot
from tui.ui.commands import Command, On, commands
from tui.ui.tones import STYLES, reads_the_same, toned


@dataclass(frozen=True, slots=True)
class Where:
    """Which project this is, said on the screen at all times."""

    project: str
    url: str
    source: str
    demo: bool = False
    read_only: bool = False
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand: the picture shown, the newest one, and what the rooms add up to."""

    where: Where
    picture: Snapshot
    newest: Snapshot
    totals: Totals
    now: float
    paused_at: float | None = None


class StatusBar(Widget):
    """Two lines: the place and the freshness of the data; the counts, or what is wrong."""

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._standing: Standing | None = None
        self._written = (Content(""), Content(""))

    def show(self, standing: Standing) -> None:
        """Say how things stand; of the two lines only what reads differently is drawn again."""
        self._standing = standing
        before, self._written = self._written, self._lines(standing)
        for y, (old, new) in enumerate(zip(before, self._written, strict=True)):
            if not reads_the_same(old, new):
                same = _same_cells(old, new)
                self.refresh(Region(same, y, self.size.width - same, 1))

    def on_resize(self) -> None:
        """Cut them to the new width."""
        if self._standing is not None:
            self._written = self._lines(self._standing)
            self.refresh()

    def render(self) -> Content:
        """Both lines, cut to the width with the least needed parts left out."""
        # As they were made last: what is painted must be what `show` compares with.
        return Content("\n").join(self._written)

    def _lines(self, standing: Standing) -> tuple[Content, Content]:
        return self._place(standing), self._counts(standing)

    def _place(self, standing: Standing) -> Content:
        where = standing.where
        badges: list[tuple[str, str]] = []
        if where.demo:
            badges.append((" DEMO ", "bold $text on $accent-muted"))
        if where.read_only:
            badges.append((" READ-ONLY ", "bold $text on $secondary-muted"))
        if standing.paused_at is not None:
            held = age(standing.now - standing.paused_at)
            badges.append((f" PAUSED {held} ", "bold $text on $warning-muted"))
        if where.insecure:
            badges.append((" NO TLS ", "bold $text on $warning-muted"))
        live, tone = freshness(standing.newest, standing.now)
        # By tens: it goes up and down with every poll, and a line is not written anew for that.
        requests = round(standing.newest.requests, -1)
        pace = f"{standing.newest.interval:.0f}s poll  {requests}/{standing.newest.budget} req/min"
        width = self.size.width - 2
        left_badges = sum(len(text) + 1 for text, _ in badges)
        right = f"{live}  {pace}" if width - left_badges - cell_len(where.url) > 64 else live
        room = max(12, width - left_badges - len("lk-tui  ") - len(right) - 2)
        place = f"{where.project}  {where.url}  from {where.source}"
        if cell_len(place) > room:
            url = shorten(
                where.url.removeprefix("https://").removeprefix("http://"),
                max(14, room - len(where.project) - len(where.source) - 8),
            )
            place = f"{where.project}  {url}  from {where.source}"
        if cell_len(place) > room:
            place = shorten(place, room)
        parts: list[tuple[str, str]] = [(" lk-tui ", "bold $text-primary")]
        for text, style in badges:
            parts += [(text, style), (" ", "")]
        parts.append((place, ""))
        used = sum(cell_len(text) for text, _ in parts)
        parts.append((" " * max(1, self.size.width - used - cell_len(right) - 1), ""))
        parts.append((live, STYLES[tone]))
        if right != live:
            parts.append((right.removeprefix(live), STYLES[Tone.MUTED]))
        return Content.assemble(*parts)

    def _counts(self, standing: Standing) -> Content:
        newest, picture, now = standing.newest, standing.picture, standing.now
        if newest.listed_at is not None and is_stale(newest, now):
            old = f"showing the picture of {age(now - newest.listed_at)} ago"
            if newest.failure is None:
                return toned((f" ◌ no answer yet — {old}", Tone.NOTICE))
            again = newest.at + newest.interval - now
            retry = f"trying again in {again:.0f}s" if again >= 1.0 else "trying again"
            return toned((f" ✗ {newest.failure.message} — {old}, {retry}", Tone.TROUBLE))
        if newest.failure is not None:
            return toned((f" ✗ {newest.failure.message}", Tone.TROUBLE))
        if picture.listed_at is None:
            return toned((" connecting …", Tone.MUTED))
        found = [code for code in WORST_FIRST if standing.totals.signs[code] > 0]
        troubles = [(f"{SIGN_GLYPHS[c]} {standing.totals.signs[c]:,} {SIGN_NAMES[c]}  ", SIGN_TONES[c]) for c in found]
        if newest.collapse is not None and newest.collapse.is_news(now):
            troubles.insert(0, (f"✗ {collapse_words(newest.collapse)}  ", Tone.TROUBLE))
        if abs(newest.skew) >= TOLD_SKEW_S:
            troubles.append((f"⚠ this clock is {clock_words(newest.skew)} the server's  ", Tone.NOTICE))
        if not troubles and picture.rooms:
            troubles = [("● all is well", Tone.WORKING)]
        counts = [
            f" {count(len(picture.rooms), 'room')}  ",
            f"{people(standing.totals.people)}  ",
            f"{count(standing.totals.agents, 'agent')}   ",
        ]
        # What is wrong matters more than how much there is.
        while len(counts) > 1 and sum(map(len, counts)) + sum(len(text) for text, _ in troubles) > self.size.width:
            counts.pop()
        return toned(("".join(counts), Tone.PLAIN), *troubles)


def _same_cells(old: Content, new: Content) -> int:
    """How many cells at the beginning of two lines look the same."""
    pairs = zip(old.plain, new.plain, strict=False)
    length = next((index for index, (was, now) in enumerate(pairs) if was != now), 0)
    return cell_len(new.plain[:length]) if reads_the_same(old[:length], new[:length]) else 0


STALE_AFTER_INTERVALS = 2.0
TOLD_SKEW_S = 5.0
"""By so much do clocks have to differ before it is said: ages and signs are off by as much."""


def is_stale(newest: Snapshot, now: float) -> bool:
    """Whether what is shown is older than it should be: the server can't be asked, or has not answered for a while."""
    if newest.failure is not None:
        return True
    late_s = max(newest.interval, 1.0) * STALE_AFTER_INTERVALS
    return newest.listed_at is not None and now - newest.listed_at > late_s


def freshness(newest: Snapshot, now: float) -> tuple[str, Tone]:
    """Whether the newest picture is live, late or stale; and how old, where that matters."""
    if newest.listed_at is None:
        return ("○ connecting", Tone.MUTED) if newest.failure is None else ("✗ no connection", Tone.TROUBLE)
    old = now - newest.listed_at
    if newest.failure is not None:
        return f"✗ stale {age(old)}", Tone.TROUBLE
    if is_stale(newest, now):
        return f"◌ late {age(old)}", Tone.NOTICE
    return "● live", Tone.WORKING


class KeyBar(Widget):
    """The keys, as many as fit, most needed first; each can be clicked."""

    read_only: reactive[bool] = reactive(default=False)

    def __init__(self, screen: On) -> None:
        super().__init__()
        self._commands_of = screen
        self._hits: list[tuple[range, str]] = []

    def render(self) -> Content:
        """One line made from the command registry."""
        barred = [c for c in commands(self._commands_of) if c.bar and not (self.read_only and c.changes)]
        room = self.size.width - 1
        short = sum(_bar_width(c, c.label) for c in barred) > room
        kept = set()
        for command in sorted(barred, key=lambda c: c.bar):
            needed = _bar_width(command, (short and command.short) or command.label)
            if needed <= room:
                room -= needed
                kept.add(command.id)
        parts: list[tuple[str, Tone]] = [(" ", Tone.PLAIN)]
        self._hits = []
        x = 1
        for command in barred:
            if command.id not in kept:
                continue
            label = (short and command.short) or command.label
            parts += [(command.first_key, Tone.OURS), (f" {label}  ", Tone.MUTED)]
            end = x + _bar_width(command, label)
            self._hits.append((range(x, end - 2), command.keys.split(",")[0]))
            x = end
        return toned(*parts)

    async def _on_click(self, event: events.Click) -> None:
        for span, key in self._hits:
            if event.x in span:
                # As if it was pressed: some commands are the focused table's, not the screen's.
                self.app.simulate_key(key)


def _bar_width(command: Command, label: str) -> int:
    return cell_len(command.first_key) + 1 + cell_len(label) + 2
