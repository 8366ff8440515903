"""`lk-tui` without a terminal, run to its end."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

LIMIT_S = 60.0
"""How long a command may take on a busy machine."""


async def completed(
    argv: Sequence[str], environment: Mapping[str, str], home: Path
) -> subprocess.CompletedProcess[bytes]:
    """What came of it, started in `home` with nothing but this environment. Raises TimeoutExpired; then it is dead."""
    return await asyncio.to_thread(
        subprocess.run,
        argv,
        env=environment,
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=LIMIT_S,
    )
