"""Messages on a link: how they share records, wait in a bounded queue, and are put together again.

A record is at most 65,519 bytes of plaintext and carries frames, `kind ‖ length (2 bytes) ‖ body`: small messages
share a record (one encryption for many), and a large one is cut into frames over several. Each priority is a lane
of its own, in order within itself, so that a vote waits for one record and not for a 4 MiB block. Both ends hold at
most a bounded number of bytes per peer. Pure: no socket, no clock.
"""

import struct
from collections import deque
from collections.abc import Iterator
from enum import IntEnum

from node.network.handshake import TAG_SIZE, CloseCode, LinkClosed

MAX_MESSAGE_BYTES = 5 << 20
"""The largest message: a block of 4 MiB with room for what travels around it."""
MAX_RECORD_BYTES = 0xFFFF - TAG_SIZE
"""The largest plaintext of a record, so that two bytes hold the length of its ciphertext."""

PING, PONG, CLOSE, ACCEPT = 1, 2, 3, 4
_LAST_CHUNK, _MORE_CHUNK = 0x10, 0x20
_CONTROL_SIZES = {PING: 8, PONG: 8, CLOSE: 2, ACCEPT: 0}

_HEADER = struct.Struct(">BH")
# Cutting a message to fill the last bytes of a record costs more than it saves.
_SMALLEST_CUT = 1024
# What a queued message costs beside its bytes, so that a bound on bytes also bounds the number of messages.
_QUEUED_OVERHEAD = 128


class Priority(IntEnum):
    """The lane of a message. Order is kept within a lane only."""

    URGENT = 0
    """Votes, certificates, proposals, requests: what consensus waits for. Always sent first."""
    NORMAL = 1
    """Transactions."""
    BULK = 2
    """Blocks and snapshots for a peer that catches up. Shares what the urgent lane leaves with the normal one."""


_LANES = len(Priority)


def encode_frame(kind: int, body: bytes = b"") -> bytes:
    """One control frame."""
    return _HEADER.pack(kind, len(body)) + body


class Outbox:
    """The bounded queue of one link.

    A message that does not fit makes room: it drops the oldest BULK messages not yet begun, and an URGENT one then
    also the oldest NORMAL ones. A NORMAL or BULK message that still does not fit is refused; an URGENT one reports
    overflow, for then the peer has stopped reading and the link is of no use.
    """

    __slots__ = ("_begun", "_bulk_turn", "_controls", "_lanes", "limit", "queued_bytes")

    def __init__(self, limit: int) -> None:
        """Args: limit: bytes, counting 128 for each message beside its length."""
        self.limit = limit
        self.queued_bytes = 0
        self._lanes: tuple[deque[bytes], ...] = tuple(deque() for _ in range(_LANES))
        self._begun = [0] * _LANES
        self._controls: dict[int, bytes] = {}
        self._bulk_turn = False

    def push(self, payload: bytes, priority: Priority) -> bool:
        """Queue a message; False if there is no room. Raises: LinkClosed: OVERFLOW, an URGENT one has no room."""
        cost = len(payload) + _QUEUED_OVERHEAD
        if self.queued_bytes + cost > self.limit:
            self._make_room(cost, Priority.BULK)
            if priority is Priority.URGENT:
                self._make_room(cost, Priority.NORMAL)
            if self.queued_bytes + cost > self.limit:
                if priority is Priority.URGENT:
                    raise LinkClosed(CloseCode.OVERFLOW, f"{self.queued_bytes} bytes queued")
                return False
        self._lanes[priority].append(payload)
        self.queued_bytes += cost
        return True

    def push_control(self, kind: int, body: bytes = b"") -> None:
        """Queue a control frame ahead of all messages. A newer one of the same kind takes the place of an older."""
        self._controls[kind] = body

    def next_record(self) -> bytes | None:
        """The plaintext of the next record, or None when nothing waits."""
        if not self.queued_bytes and not self._controls:
            return None
        parts: list[bytes] = []
        room = MAX_RECORD_BYTES
        for kind, body in self._controls.items():
            parts.append(encode_frame(kind, body))
            room -= len(parts[-1])
        self._controls.clear()
        room = self._fill(parts, room, Priority.URGENT)
        self._bulk_turn = not self._bulk_turn
        for lane in (Priority.BULK, Priority.NORMAL) if self._bulk_turn else (Priority.NORMAL, Priority.BULK):
            room = self._fill(parts, room, lane)
        return b"".join(parts)

    def _fill(self, parts: list[bytes], room: int, lane: Priority) -> int:
        """Move what fits of a lane into the record and return the room that is left."""
        queue = self._lanes[lane]
        while queue:
            payload = queue[0]
            begun = self._begun[lane]
            size = len(payload) - begun
            available = room - _HEADER.size
            if size <= available:
                parts.append(_HEADER.pack(_LAST_CHUNK | lane, size))
                parts.append(payload[begun:] if begun else payload)
                room = available - size
                queue.popleft()
                self._begun[lane] = 0
                self.queued_bytes -= len(payload) + _QUEUED_OVERHEAD
            elif available >= _SMALLEST_CUT:
                parts.append(_HEADER.pack(_MORE_CHUNK | lane, available))
                parts.append(payload[begun : begun + available])
                self._begun[lane] = begun + available
                return 0
            else:
                break
        return room

    def _make_room(self, cost: int, lane: Priority) -> None:
        queue = self._lanes[lane]
        # The peer holds the beginning of a message that is under way, so that one has to be finished.
        first = 1 if self._begun[lane] else 0
        while self.queued_bytes + cost > self.limit and len(queue) > first:
            self.queued_bytes -= len(queue[first]) + _QUEUED_OVERHEAD
            del queue[first]


class Assembler:
    """Puts the chunks of each lane together again, up to `max_message_bytes` a message."""

    __slots__ = ("_partial", "max_message_bytes")

    def __init__(self, max_message_bytes: int) -> None:
        self.max_message_bytes = max_message_bytes
        self._partial: list[bytearray | None] = [None] * _LANES

    def add(self, kind: int, body: bytes) -> bytes | None:
        """The finished message, or None if more of it must come.

        Raises: LinkClosed: VIOLATION, an unknown kind, an empty chunk or a message too large.
        """
        lane = kind & 0x0F
        last = kind & 0xF0 == _LAST_CHUNK
        if lane >= _LANES or not (last or kind & 0xF0 == _MORE_CHUNK):
            raise LinkClosed(CloseCode.VIOLATION, f"unknown frame kind {kind}")
        partial = self._partial[lane]
        if not body:
            raise LinkClosed(CloseCode.VIOLATION, "empty chunk")
        if len(body) + (len(partial) if partial else 0) > self.max_message_bytes:
            raise LinkClosed(CloseCode.VIOLATION, "message too large")
        if last:
            if partial is None:
                return body
            self._partial[lane] = None
            partial += body
            return bytes(partial)
        if partial is None:
            self._partial[lane] = bytearray(body)
        else:
            partial += body
        return None


def split_frames(record: bytes) -> Iterator[tuple[int, bytes]]:
    """The (kind, body) of each frame of a record's plaintext.

    Raises: LinkClosed: VIOLATION, an empty record, a frame that is cut off, or a control frame of a wrong size.
    """
    position, end = 0, len(record)
    if not end:
        raise LinkClosed(CloseCode.VIOLATION, "empty record")
    while position < end:
        if end - position < _HEADER.size:
            raise LinkClosed(CloseCode.VIOLATION, "frame header cut off")
        kind, size = _HEADER.unpack_from(record, position)
        position += _HEADER.size
        if size > end - position:
            raise LinkClosed(CloseCode.VIOLATION, "frame cut off")
        if kind < _LAST_CHUNK and _CONTROL_SIZES.get(kind) != size:
            raise LinkClosed(CloseCode.VIOLATION, f"malformed control frame {kind}")
        yield kind, record[position : position + size]
        position += size
