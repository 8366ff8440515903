"""ListRooms' answer with every room as the bytes that came.

Of 10,000 rooms few have changed since the last time, and those that haven't are known by their bytes: to read all of
them and compare what was read takes eight times as long, and holds four times the memory.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_FIELD = FieldDescriptorProto(
    name="rooms", number=1, type=FieldDescriptorProto.TYPE_BYTES, label=FieldDescriptorProto.LABEL_REPEATED
)


def _listing() -> type[Message]:
    # On the wire, a message within a message is bytes: this reads livekit.ListRoomsResponse, one level deep.
    file = FileDescriptorProto(name="lk_tui.proto", package="lk_tui", syntax="proto3")
    file.message_type.add(name="Listing").field.append(_FIELD)
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("lk_tui.Listing"))


Listing: Any = _listing()
"""A message with `rooms`, a sequence of bytes: each of them a livekit.Room."""
