"""A program of the bench in a process of its own, and how the two talk: one JSON object a line, question and answer."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

REPOSITORY = Path(__file__).resolve().parents[1]

Answer = dict[str, Any]


class ChildError(RuntimeError):
    """A program of the bench has ended, or says something else than an answer."""


class Child:
    """`python -m MODULE ARGUMENTS`, for `with`; `hello` is the first thing it says: that it is ready.

    `mute` is for one whose libraries print what nobody needs to read.
    """

    def __init__(self, module: str, *arguments: str, mute: bool = False) -> None:
        self._mute = mute
        self._command = [sys.executable, "-m", module, *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self.hello: Answer = {}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if self._mute else None,
        )
        self.hello = self._hear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def ask(self, do: str, **details: object) -> Answer:
        """Have it do something, and wait for what it says to that. Raises ChildError."""
        if self._process is None or self._process.stdin is None:
            raise ChildError(f"{self._command[2]} is not running")
        self._process.stdin.write(json.dumps({"do": do, **details}).encode() + b"\n")
        self._process.stdin.flush()
        return self._hear()

    def _hear(self) -> Answer:
        if self._process is None or self._process.stdout is None:
            raise ChildError(f"{self._command[2]} is not running")
        line = self._process.stdout.readline()
        if not line:
            raise ChildError(f"{' '.join(self._command[2:])} has ended")
        answer: Answer = json.loads(line)
        return answer


async def answer_parent(hello: Answer, answer: Callable[[Mapping[str, Any]], Awaitable[Answer]]) -> None:
    """The child's side: say hello on standard output, then answer what comes on standard input until it is closed."""
    loop = asyncio.get_running_loop()
    questions = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
    _say(hello)
    while line := await questions.readline():
        _say(await answer(json.loads(line)))


def _say(answer: Answer) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
