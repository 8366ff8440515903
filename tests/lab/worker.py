"""A real livekit-agents worker in processes of its own."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.process import LabProcess, LabProcessError
from tests.lab.server import LabServer
from tests.lab.waiting import eventually

LabEvent = Mapping[str, object]

_REGISTERED_SECONDS = 90.0


class LabWorker:
    """One worker, registered inside `with` and killed after; `tests/lab/agent_main.py` says what its agents print."""

    def __init__(self, server: LabServer, directory: Path, *, agent_name: str = "", helper: bool = True) -> None:
        """An empty `agent_name` is automatic dispatch. `directory` gets the log, which holds the events too."""
        self._server = server
        self._environment = {
            "LIVEKIT_URL": server.ws_url,
            "LIVEKIT_API_KEY": server.api_key,
            "LIVEKIT_API_SECRET": server.api_secret,
            "AGENT_NAME": agent_name,
            "LAB_HELPER": "1" if helper else "0",
        }
        self.agent_name = agent_name
        self.helper = helper
        self.process = LabProcess(f"worker {agent_name or '(auto)'}", directory / f"worker-{agent_name or 'auto'}.log")

    def start(self) -> None:
        """Start and wait until the server has registered it, which takes some 8 s (warming up a job process)."""
        self.process.start([sys.executable, "-m", "tests.lab.agent_main", "start"], self._environment)
        try:
            self.process.wait_until(
                lambda: b"registered worker" in self.process.log.read_bytes(), "it was registered", _REGISTERED_SECONDS
            )
        except LabProcessError:
            self.process.stop()
            raise

    def stop(self) -> None:
        """Kill it with its job processes. SIGTERM would drain: wait until every session ends."""
        self.process.stop()

    def events(self, name: str, **fields: object) -> list[LabEvent]:
        """The events called `name` so far whose fields equal `fields`, oldest first."""
        wanted = {"event": name, **fields}
        found: list[LabEvent] = []
        for line in self.process.log.read_text(errors="replace").splitlines():
            if not line.startswith('{"event"'):
                continue
            try:
                event: dict[str, object] = json.loads(line)
            except ValueError:
                # the last line, while it is being written
                continue
            if wanted.items() <= event.items():
                found.append(event)
        return found

    def has_logged(self, *words: str) -> bool:
        """Whether a line of the log holds all these words."""
        lines = self.process.log.read_text(errors="replace").splitlines()
        return any(all(word in line for word in words) for line in lines)

    async def wait_for(
        self,
        name: str,
        *,
        timeout: float = 30.0,  # noqa: ASYNC109 -- handed on to `eventually`, which reports better
        **fields: object,
    ) -> LabEvent:
        """The first event called `name` whose fields equal `fields`: `await worker.wait_for("close", room=name)`."""
        found = await eventually(lambda: self.events(name, **fields), timeout)
        return found[0]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
