"""A process of the lab: its own process group, its output in a file, and a certain end."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

_POLL_SECONDS = 0.05
_TAIL_LINES = 60


class LabProcessError(RuntimeError):
    """A process of the lab ended, or didn't get ready in time. The message ends with the tail of its log."""


class LabProcess:
    """One process with everything it starts, ended together by killing the group."""

    def __init__(self, name: str, log: Path) -> None:
        """`name` is for people; `log` is the file that gets standard output and standard error, appended."""
        self.name = name
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id, which is also the process group's. Raises LabProcessError when it isn't started."""
        if self._process is None:
            raise LabProcessError(f"{self.name} is not started")
        return self._process.pid

    def start(self, command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        """Start `command` in the repository's root; `environment` is added to ours."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(word) for word in command],
                cwd=REPOSITORY,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until(self, is_ready: Callable[[], bool], what: str, timeout: float) -> None:
        """Block until `is_ready()`. Raises LabProcessError after `timeout` seconds, or once the process has ended."""
        deadline = time.monotonic() + timeout
        while not is_ready():
            if self._process is None or self._process.poll() is not None:
                raise LabProcessError(f"{self.name} ended before {what}\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise LabProcessError(f"{self.name}: {what} didn't happen within {timeout:.0f} s\n{self.log_tail()}")
            time.sleep(_POLL_SECONDS)

    def freeze(self) -> None:
        """Have the whole group stand still (SIGSTOP): its connections stay, and nothing is answered."""
        os.killpg(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on where it stood (SIGCONT)."""
        os.killpg(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Kill the whole group and reap it. Nothing happens if it isn't running."""
        process, self._process = self._process, None
        if process is None:
            return
        # The group may outlive its leader, so it is killed even when the leader has ended already.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def log_tail(self) -> str:
        """The last lines of the log, for a person."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
