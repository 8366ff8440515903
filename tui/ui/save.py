"""The log into a file, as it is shown."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from tui.model.action import BatchRecord
from tui.model.log import LogEntry


def save_log(lines: Iterable[LogEntry], folder: Path, now: float) -> Path:
    """Write the lines as JSON lines into a new file in `folder`, readable by its owner alone; return its path.

    Closes are as in docs/closes-json.md. Raises OSError.
    """
    from tui.history.codec import public_record

    path = folder / time.strftime("lk-tui-log-%Y%m%d-%H%M%S.jsonl", time.localtime(now))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        for line in lines:
            told = line.what.records if isinstance(line.what, BatchRecord) else (line.what,)
            file.writelines(json.dumps(public_record(each)) + "\n" for each in told)
    return path
