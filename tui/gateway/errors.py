"""The few ways in which a call to LiveKit can fail, in the terms a person acts on."""

from __future__ import annotations

from tui.model.snapshot import Failure, FailureKind


class GatewayError(Exception):
    """A call that failed. `str()` is one line, safe to show, without secrets, that says what to do where it can."""

    kind = FailureKind.SERVER

    @property
    def failure(self) -> Failure:
        """This error as a value for a snapshot."""
        return Failure(self.kind, str(self))


class AuthenticationError(GatewayError):
    """401 or 403: the key, the secret, or the token's grant is wrong, or the clocks differ by minutes."""

    kind = FailureKind.AUTHENTICATION


class UnreachableError(GatewayError):
    """No connection: no such host, refused, TLS failure, or no answer in time. A change may or may not have arrived."""

    kind = FailureKind.UNREACHABLE


class NotLiveKitError(GatewayError):
    """Something answered that isn't LiveKit: a web page, another service, or not the protobuf asked for."""

    kind = FailureKind.NOT_LIVEKIT


class RateLimitedError(GatewayError):
    """429. `retry_after` is how long the server asked to be left alone, seconds, or None."""

    kind = FailureKind.RATE_LIMITED

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class MissingError(GatewayError):
    """404: the room, participant or dispatch is not there."""


class NoResponseError(GatewayError):
    """503 `no response from servers`: no such thing, a dead node, or Redis trouble. It proves nothing."""


class ServerFailedError(GatewayError):
    """Any other answer that isn't success: 5xx, or a refusal of the request."""


class MethodUnsupportedError(GatewayError):
    """PerformRpc reached the agent, and the agent has no such method: it lives, and does not run the helper."""


class AgentNotAnsweringError(GatewayError):
    """PerformRpc got no acknowledgement from the agent (2 s): its process hangs or is dead."""


class AgentRefusedError(GatewayError):
    """PerformRpc reached the agent, and the agent answered with an error of its own."""


class ReadOnlyError(GatewayError):
    """A change was asked of a read-only gateway. Nothing was sent."""


UNPROVEN = (UnreachableError, NoResponseError, ServerFailedError)
"""Errors after which a change may have happened all the same: ask the lists."""
