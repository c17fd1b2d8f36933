"""What waits for the core, so that whoever says too much delays himself and nobody else.

Peers take turns, one message each, in the order in which each of them spoke: checking one bad certificate takes
milliseconds, and a queue that all share would let one liar hold up the votes of everybody. What the node itself has
found out goes first. A deadline comes after all input that arrived before it, but a flood cannot put it off for good.
"""

from collections import OrderedDict, deque

from node.consensus.events import DeadlineReached, Event, MessageReceived

MESSAGES_BEFORE_DEADLINE = 512
"""Of each peer, at most so many messages that arrived before a deadline are handled before it."""


class Inbox:
    """Events in the order in which the core is to have them."""

    def __init__(self) -> None:
        self._own: deque[Event] = deque()
        self._deadlines: deque[tuple[int, DeadlineReached]] = deque()
        self._peers: OrderedDict[bytes, deque[tuple[int, Event, int]]] = OrderedDict()
        """Of each peer its number of arrival, the event and its size; whose turn it is comes first."""
        self._sizes: dict[bytes, int] = {}
        self._ahead: dict[bytes, int] = {}
        """How many messages of each peer went before the deadline that waits."""
        self._arrivals = 0

    def put(self, event: Event) -> None:
        """Something that the node itself has found out."""
        if isinstance(event, DeadlineReached):
            self._deadlines.append((self._arrivals, event))
        else:
            self._own.append(event)

    def put_of(self, peer: bytes, event: Event, size: int = 0) -> None:
        """Something that a peer said, or that happened to its link."""
        self._arrivals += 1
        self._peers.setdefault(peer, deque()).append((self._arrivals, event, size))
        self._sizes[peer] = self._sizes.get(peer, 0) + size

    def size_of(self, peer: bytes) -> int:
        """Bytes of a peer's messages that wait."""
        return self._sizes.get(peer, 0)

    def take(self) -> Event | None:
        """The next event; None if nothing waits."""
        if self._own:
            return self._own.popleft()
        if self._deadlines and not self._input_before(self._deadlines[0][0]):
            self._ahead.clear()
            return self._deadlines.popleft()[1]
        if not self._peers:
            return None
        peer, queue = self._peers.popitem(last=False)
        _, event, size = queue.popleft()
        if self._deadlines:
            self._ahead[peer] = self._ahead.get(peer, 0) + 1
        if queue:
            self._peers[peer] = queue
            self._sizes[peer] -= size
        else:
            del self._sizes[peer]
        return event

    def forget(self, peer: bytes) -> None:
        """Drop what a peer said; what happened to its link stays."""
        kept = [entry for entry in self._peers.pop(peer, ()) if not isinstance(entry[1], MessageReceived)]
        self._sizes.pop(peer, None)
        if kept:
            self._peers[peer] = deque(kept)
            self._sizes[peer] = 0

    def _input_before(self, arrivals: int) -> bool:
        """Whether a message of before a deadline still has to be handled before it."""
        return any(
            queue[0][0] <= arrivals and self._ahead.get(peer, 0) < MESSAGES_BEFORE_DEADLINE
            for peer, queue in self._peers.items()
        )
