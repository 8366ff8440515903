"""Records what every way to end a session looks like on the LiveKit that is installed here.

    python -m tests.record_endings

Writes tests/recorded/endings.json, which the tests of verdicts read, and docs/causes.md, which is made from it. Run it
again on a new release of livekit-server or livekit-agents, and look at the difference.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from tests.endings_table import DOCUMENT, RECORDED, as_document
from tests.lab.endings import run
from tests.lab.server import SERVER_MODULE
from tui.history.codec import close_json


def main() -> None:
    """Play all endings and keep what was seen."""
    with tempfile.TemporaryDirectory() as directory:
        seen = asyncio.run(run(Path(directory)))
    recorded = {
        "versions": {
            "livekit-server": SERVER_MODULE.partition("@v")[2],
            **{name: version(name) for name in ("livekit-agents", "livekit", "livekit-api")},
        },
        "endings": [
            {
                "ending": ending,
                "helper": helper,
                "sources": sources,
                "close": close_json(event) if event is not None else None,
            }
            for (ending, helper, sources), event in sorted(seen.items())
        ],
    }
    RECORDED.parent.mkdir(exist_ok=True)
    RECORDED.write_text(json.dumps(recorded, indent=1) + "\n")
    DOCUMENT.write_text(as_document(recorded))
    sys.stdout.write(f"{RECORDED}\n{DOCUMENT}\n")


if __name__ == "__main__":
    main()
