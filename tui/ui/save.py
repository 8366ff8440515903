"""The log or a conversation into a file, as it is shown."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tui.model.action import BatchRecord
from tui.model.log import LogEntry
from tui.model.session import Entry
from tui.model.session_phrases import entry_text, public_entry, who_words


def save_log(lines: Iterable[LogEntry], folder: Path, now: float) -> Path:
    """Write the lines as JSON lines into a new file in `folder`, readable by its owner alone; return its path.

    Closes are as in docs/closes-json.md. Raises OSError.
    """
    from tui.history.codec import public_record

    path = folder / f"lk-tui-log-{_stamp(now)}.jsonl"
    told = (line.what.records if isinstance(line.what, BatchRecord) else (line.what,) for line in lines)
    _write(path, (json.dumps(public_record(each)) for records in told for each in records))
    return path


def save_conversation(entries: Sequence[Entry], folder: Path, now: float) -> tuple[Path, Path]:
    """Write the entries as JSON lines and as text into two new files in `folder`; return their paths. Raises OSError.

    What people said is in them: they are readable by their owner alone.
    """
    lines, text = (folder / f"lk-tui-session-{_stamp(now)}.{kind}" for kind in ("jsonl", "txt"))
    _write(lines, (json.dumps(public_entry(entry), ensure_ascii=False) for entry in entries))
    _write(text, (_as_text(entry, now) for entry in entries))
    return lines, text


def _as_text(entry: Entry, now: float) -> str:
    said = entry_text(entry, now).replace("\n", "\n" + " " * 20)
    return f"{time.strftime('%H:%M:%S', time.localtime(entry.at))}  {who_words(entry)[0]:<10}{said}"


def _stamp(now: float) -> str:
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(now))


def _write(path: Path, lines: Iterable[str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)
