"""Real participants in this process, who remember what they saw of others."""

from dataclasses import dataclass, field
from typing import Any

from livekit import api, rtc

from tests.lab.server import LabServer


@dataclass(frozen=True)
class SawAttributes:
    """The attributes of `identity` that changed, as one update brought them."""

    identity: str
    changed: dict[str, str]


@dataclass(frozen=True)
class SawLeave:
    """`identity` left; `reason` is the name in LiveKit's DisconnectReason."""

    identity: str
    reason: str


@dataclass
class LabPerson:
    """A connected participant. `saw` is in the order of arrival; `disconnected` is our own reason once we are out."""

    identity: str
    room: rtc.Room
    saw: list[SawAttributes | SawLeave] = field(default_factory=list)
    disconnected: str | None = None

    async def leave(self) -> None:
        """Disconnect. Nothing happens if we are out already."""
        await self.room.disconnect()

    async def __aenter__(self) -> "LabPerson":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()


async def join(
    server: LabServer, room: str, identity: str, kind: api.AccessToken.ParticipantKind = "standard", **grants: Any
) -> LabPerson:
    """Connect `identity` to `room`, and so create the room if there is none.

    `grants` are more fields of `api.VideoGrants`; `hidden=True, agent=True` makes an observer who neither counts nor
    holds the room open. Raises `rtc.ConnectError`. The person must leave before the test's event loop ends:
    `async with await join(...) as alice`.
    """
    person = LabPerson(identity, rtc.Room())

    @person.room.on("participant_attributes_changed")
    def on_attributes(changed: dict[str, str], who: rtc.Participant) -> None:
        person.saw.append(SawAttributes(who.identity, dict(changed)))

    @person.room.on("participant_disconnected")
    def on_leave(who: rtc.RemoteParticipant) -> None:
        person.saw.append(
            SawLeave(
                who.identity, rtc.DisconnectReason.Name(who.disconnect_reason or rtc.DisconnectReason.UNKNOWN_REASON)
            )
        )

    @person.room.on("disconnected")
    def on_disconnected(reason: rtc.DisconnectReason.ValueType) -> None:
        person.disconnected = rtc.DisconnectReason.Name(reason)

    token = server.token(identity, api.VideoGrants(room_join=True, room=room, **grants), kind)
    await person.room.connect(server.ws_url, token)
    return person
