"""The tokens that the demo checks: those on requests, as LiveKit does, and those for its agents' helper."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

from livekit import api
from livekit.api.access_token import Claims

OPERATOR_TOKEN_S = 60
"""For how long an operator's token may be valid (docs/helper-protocol.md)."""


class BadTokenError(ValueError):
    """The token is no good; the text says why."""


def grants(token: str, api_key: str, api_secret: str) -> api.VideoGrants:
    """What a request's token allows. Raises BadTokenError, in the words of livekit-server's `service/auth.go`."""
    issuer = _claims(token).get("iss", "")
    if issuer != api_key:
        raise BadTokenError(f"invalid API key: {issuer}")
    try:
        return _verified(api.TokenVerifier(api_key, api_secret), token).video or api.VideoGrants()
    except BadTokenError as error:
        raise BadTokenError(f"invalid token: {token}, error: {error}") from error


def operator(payload: str, room_name: str, now: float, api_key: str, api_secret: str) -> str:
    """The operator who asks an agent in `room_name` for something, by the request's payload. Raises BadTokenError."""
    try:
        token = json.loads(payload)["token"]
    except (ValueError, TypeError, KeyError) as error:
        raise BadTokenError('the payload is not {"token": "…"}') from error
    if not isinstance(token, str):
        raise BadTokenError("the token is not a string")
    claims = _verified(api.TokenVerifier(api_key, api_secret, leeway=timedelta(0)), token)
    expires = _claims(token)["exp"]
    if not isinstance(expires, int | float) or expires - now > OPERATOR_TOKEN_S:
        raise BadTokenError(f"the token is valid for more than {OPERATOR_TOKEN_S} s")
    if claims.video is None or not claims.video.room_admin or claims.video.room != room_name:
        raise BadTokenError("the token does not grant roomAdmin for this room")
    if not claims.identity:
        raise BadTokenError("the token names no operator")
    return claims.identity


def _verified(verifier: api.TokenVerifier, token: str) -> Claims:
    try:
        return verifier.verify(token)
    # livekit.api lets its JWT library's errors through, and whatever is wrong with a stranger's token, it is no good
    except Exception as error:
        raise BadTokenError(str(error)) from error


def _claims(token: str) -> dict[str, object]:
    """What the token says, unchecked."""
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (IndexError, ValueError) as error:
        raise BadTokenError("invalid authorization token") from error
    if not isinstance(claims, dict):
        raise BadTokenError("invalid authorization token")
    return claims
