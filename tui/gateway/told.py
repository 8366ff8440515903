"""What the observers' process says (`tui/observer.py`), line by line, made safe and in the model's terms."""

from __future__ import annotations

import ast
import base64
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from livekit.protocol import models as models_pb

from tui.gateway import convert
from tui.model.room import Participant, SessionError
from tui.model.text import safe_text


@dataclass(frozen=True, slots=True)
class Told:
    """One line of the process, made safe: what it saw in which room, and as much more as belongs to it."""

    room: str
    saw: str
    who: tuple[Participant, ...] = ()
    reason: str = ""
    words: str = ""
    error: SessionError | None = None
    seconds: float = 0.0
    created: bool = False
    agent: str = ""
    message: bytes = b""

    @classmethod
    def read(cls, line: bytes) -> Told | None:
        """None for a line that is not what the process says, such as one cut off as it ended."""
        try:
            said = json.loads(line)
            who = said.get("who", [])
            return cls(
                room=str(said["room"]),
                saw=str(said["saw"]),
                who=tuple(_participant(each) for each in (who if isinstance(who, list) else [who])),
                reason=convert.disconnect_reason(int(said.get("reason", 0))),
                words=safe_text(str(said.get("why", "")), 80),
                error=session_error(str(said.get("error", ""))),
                seconds=float(said.get("since", said.get("empty_timeout", 0.0))),
                created=bool(said.get("created")),
                agent=str(said.get("agent", "")),
                message=base64.b64decode(said.get("message", "")),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None


def _participant(told: Mapping[str, Any]) -> Participant:
    """A participant as the rtc library has it, which doesn't tell its permissions."""
    fields: dict[str, Any] = {
        "sid": str(told["sid"]),
        "identity": _encodable(told["identity"]),
        "kind": int(told["kind"]),
        "state": models_pb.ParticipantInfo.ACTIVE,
        "joined_at_ms": round(float(told["joined_at"]) * 1000),
        "attributes": {_encodable(key): _encodable(value) for key, value in told["attributes"].items()},
    }
    return convert.participant(models_pb.ParticipantInfo(**fields))


def _encodable(text: object) -> str:
    return str(text).encode("utf-8", "replace").decode()


_ERROR = re.compile(
    r"label=(?P<source>'[^']*'|\"[^\"]*\").*? error=(?P<type>\w+)\((?P<words>.*?)\)?(?: recoverable=\w+)?", re.DOTALL
)
_FIRST_WORDS = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_HARMLESS = " recoverable=True"


def session_error(text: str) -> SessionError | None:
    """The error in a session's error event, whose text is that of a livekit-agents `LLMError` or the like (1.8.9), as
    the helper would tell it. None for one that the session got over. Any other text is taken for the message."""
    if not text or text.endswith(_HARMLESS):
        return None
    found = _ERROR.fullmatch(text[text.find("label=") :])
    if found is None:
        return SessionError("", "session", safe_text(text, 300))
    words = found["words"]
    if (first := _FIRST_WORDS.match(words)) is not None:
        # What an error calls itself need not be Python: then it is shown as it came.
        with suppress(ValueError, SyntaxError):
            words = str(ast.literal_eval(first[0]))
    return SessionError(*(safe_text(part, 300) for part in (found["type"], found["source"][1:-1], words)))
