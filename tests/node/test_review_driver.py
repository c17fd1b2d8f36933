"""The inbox of the core, and what becomes of the rest of the node: who floods it delays himself."""

import asyncio
import time
from typing import Any

from node.consensus.events import DeadlineReached, Moment, PeerConnected, PeerDisconnected, Timer, WorkAvailable
from node.consensus.events import MessageReceived as Received
from node.consensus.inbox import MESSAGES_BEFORE_DEADLINE, Inbox
from node.network.frames import Priority
from node.network.messages import BlockRequest
from tests.network_support import ALICE, BOB, LinkPair, ManualClock, Node, dial_as, hang_up, running, turns
from tests.network_support import Inbox as Heard
from tests.node.test_driver import Rig

LIAR, HONEST, OTHER = b"l" * 32, b"h" * 32, b"o" * 32
AT = Moment(0, 0)
DEADLINE = DeadlineReached(AT, Timer.VIEW)


def said(peer: bytes, number: int = 0) -> Received:
    return Received(AT, peer, BlockRequest(number.to_bytes(32, "big")))


def test_peers_take_turns_and_each_keeps_its_order() -> None:
    inbox = Inbox()
    for number in range(1_000):
        inbox.put_of(LIAR, said(LIAR, number), 10)
    for peer in (HONEST, OTHER):
        for number in range(2):
            inbox.put_of(peer, said(peer, number), 1)
    assert inbox.size_of(LIAR) == 10_000
    taken = [inbox.take() for _ in range(7)]
    assert taken == [
        *(said(LIAR), said(HONEST), said(OTHER)),
        *(said(LIAR, 1), said(HONEST, 1), said(OTHER, 1)),
        said(LIAR, 2),
    ]
    assert inbox.size_of(LIAR) == 9_970
    assert inbox.size_of(HONEST) == 0


def test_what_the_node_found_out_itself_goes_first() -> None:
    inbox = Inbox()
    inbox.put_of(LIAR, said(LIAR), 1)
    inbox.put(WorkAvailable(AT))
    assert [inbox.take(), inbox.take(), inbox.take()] == [WorkAvailable(AT), said(LIAR), None]


def test_a_deadline_follows_the_input_before_it_and_not_the_input_after_it() -> None:
    inbox = Inbox()
    for number in range(3):
        inbox.put_of(HONEST, said(HONEST, number), 1)
    inbox.put(DEADLINE)
    inbox.put_of(HONEST, said(HONEST, 3), 1)
    inbox.put_of(OTHER, said(OTHER), 1)
    order = [inbox.take() for _ in range(6)]
    assert order.index(DEADLINE) == order.index(said(HONEST, 2)) + 1
    assert order[-1] == said(HONEST, 3)


def test_a_flood_does_not_put_a_deadline_off() -> None:
    inbox = Inbox()
    for number in range(10 * MESSAGES_BEFORE_DEADLINE):
        inbox.put_of(LIAR, said(LIAR, number), 1)
    inbox.put(DEADLINE)
    inbox.put(DEADLINE)
    order = [inbox.take() for _ in range(2 * MESSAGES_BEFORE_DEADLINE + 2)]
    assert [index for index, event in enumerate(order) if event == DEADLINE] == [
        MESSAGES_BEFORE_DEADLINE,
        2 * MESSAGES_BEFORE_DEADLINE + 1,
    ]


def test_a_forgotten_peer_is_still_known_to_have_come_and_gone() -> None:
    inbox = Inbox()
    events = [PeerConnected(AT, LIAR), said(LIAR), PeerDisconnected(AT, LIAR)]
    for event in events:
        inbox.put_of(LIAR, event, 5)
    inbox.forget(LIAR)
    assert inbox.size_of(LIAR) == 0
    assert [inbox.take() for _ in range(3)] == [events[0], events[2], None]
    inbox.forget(LIAR)
    inbox.put_of(LIAR, said(LIAR), 7)
    assert inbox.size_of(LIAR) == 7
    assert inbox.take() == said(LIAR)


async def test_the_links_are_heard_while_a_flood_is_worked_off() -> None:
    """No step of a flood ever waits for anything, so the driver itself has to give way."""
    rig = Rig({})

    def slow(event: Any) -> list[Any]:
        time.sleep(0.003)
        return []

    rig.core.step = slow  # type: ignore[method-assign]
    await rig.driver.start()
    for number in range(200):
        rig.driver.receive(LIAR, BlockRequest(number.to_bytes(32, "big")), 10, 0.0)
    longest, before = 0.0, time.monotonic()
    while rig.driver._inbox.size_of(LIAR):
        await asyncio.sleep(0)
        longest, before = max(longest, time.monotonic() - before), time.monotonic()
    await rig.driver.stop()
    assert longest < 0.2


async def test_a_link_is_not_read_while_it_rests() -> None:
    clock = ManualClock()
    async with LinkPair(clock) as pair:
        heard = Heard()
        pair.run(pair.left, Heard())
        pair.run(pair.right, heard)
        pair.right.rest(1.0)
        pair.right.rest(100.0)
        pair.left.send(b"the record at hand", Priority.NORMAL)
        await turns(100)
        pair.left.send(b"the next", Priority.NORMAL)
        await turns(100)
        assert heard.payloads == [b"the record at hand"]
        await clock.advance(4.9)
        assert len(heard.messages) == 1
        await clock.advance(0.2)
        assert heard.payloads == [b"the record at hand", b"the next"]
        assert not pair.right.closing


async def test_an_authority_that_misbehaves_is_heard_less() -> None:
    bob = Node(BOB)
    async with running(bob):
        link = await dial_as(ALICE, bob.address)
        await turns()
        live = bob.network._links[ALICE.public_key].link
        bob.network.penalise(ALICE.public_key, 60, "vote with a bad signature")
        assert live._rest_seconds == 0.0
        bob.network.penalise(ALICE.public_key, 60, "vote with a bad signature")
        assert live._rest_seconds == 0.06
        await hang_up(link)
