"""The invariants of governance and authorities have teeth: each is shown a state with one thing wrong, and names it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chain.actions.authorities import RemoveAuthority
from chain.actions.governance import SetParameter, SpendTreasury
from chain.authorities import (
    AUTHORITIES,
    AUTHORITY_SETS,
    CANDIDATES,
    DEPARTURES,
    Candidate,
    Departure,
    Departures,
    read_authorities,
    read_departures,
)
from chain.certificate import Authority
from chain.governance import AGENDA, MEASURES, Ballot, read_agenda
from chain.invariants import InvariantBroken, check_all
from chain.schedule import DUE, Subject
from chain.state.tables import u64
from tests.council import Council

FEE = SetParameter("market_fee", 300)


class Scene:
    """A council with an open and a passed measure, a candidate, and somebody who leaves: what each test damages."""

    def __init__(self) -> None:
        council = Council(7)
        first, second, third = (officer.address for officer in council.officers[4:])
        council.enact(council.outsiders[0].addition)
        council.enact(*map(RemoveAuthority, (first, second)), voters=council.officers[:4] + council.officers[6:])
        council.enact(RemoveAuthority(third), voters=council.officers[:4])
        assert len(council.operators) == 4
        for target in council.officers[2:4]:
            measure = council.propose(RemoveAuthority(target.address))
            others = [each for each in council.officers[1:4] if each is not target]
            council.vote(measure, *others)
        council.end_epoch()
        self.open = council.propose(FEE)
        self.passed = council.propose(SetParameter("ready_epochs", 5))
        council.vote(self.passed, *[each for each in council.officers[1:4] if each.address in council.operators])
        self.council, self.view = council, council.view
        check_all(self.view)

    def measure(self, measure_id: bytes, **changes: Any) -> None:
        found = MEASURES.get(self.view, measure_id)
        assert found is not None
        MEASURES.put(self.view, measure_id, replace(found, **changes))

    def drop_deadline(self) -> None:
        for key, _ in list(DUE.scan(self.view)):
            if key[9] == Subject.MEASURE:
                DUE.delete(self.view, key)

    def members(self, change: Callable[[tuple[Authority, ...]], tuple[Authority, ...]]) -> None:
        present = read_authorities(self.view)
        AUTHORITIES.put(self.view, replace(present, members=change(present.members)))


DAMAGES: dict[str, tuple[Callable[[Scene], object], str]] = {
    "a measure lost": (lambda s: MEASURES.delete(s.view, s.open), "the agenda names every measure once"),
    "a measure forgotten": (
        lambda s: AGENDA.put(s.view, replace(read_agenda(s.view), open=())),
        "the agenda names every measure once",
    ),
    "a measure without deadline": (lambda s: s.drop_deadline(), "an open measure has its deadline"),
    "a measure that expires elsewhere": (lambda s: s.measure(s.open, expires_ms=1), "an open measure has its deadline"),
    "a measure of somebody else": (
        lambda s: s.measure(s.open, proposer=s.council.stranger.address),
        "the agenda agrees with its measures",
    ),
    "two votes of one operator": (
        lambda s: s.measure(s.open, ballots=(Ballot(bytes(33), 0, True), Ballot(bytes(33), 0, False))),
        "an operator votes once",
    ),
    "a passed measure that is open": (lambda s: s.measure(s.passed, passed_epoch=None), "a passed measure waits"),
    "a spending that the agenda does not know": (
        lambda s: s.measure(s.passed, actions=(SpendTreasury(bytes(33), 1),)),
        "the agenda knows what is spent",
    ),
    "a deposit too large": (lambda s: s.measure(s.open, deposit=10**6), "deposits add up"),
    "an authority twice": (
        lambda s: s.members(lambda members: (*members, members[0])),
        "the set names every operator and key once",
    ),
    "a key twice": (
        lambda s: s.members(lambda members: (*members[:-1], replace(members[-1], bls_key=members[0].bls_key))),
        "the set names every operator and key once",
    ),
    "a departure of a stranger": (
        lambda s: DEPARTURES.put(s.view, Departures((Departure(s.council.stranger.address, False),))),
        "who leaves is in the set",
    ),
    "a departure twice": (
        lambda s: DEPARTURES.put(s.view, Departures(read_departures(s.view).waiting * 2)),
        "an authority leaves once",
    ),
    "a candidate in the set": (
        lambda s: CANDIDATES.put(s.view, s.council.officers[0].address, Candidate(s.council.officers[0].authority, 0)),
        "a candidate is not in the set",
    ),
    "a past set of the present": (
        lambda s: AUTHORITY_SETS.put(s.view, u64(read_authorities(s.view).epoch), read_authorities(s.view)),
        "a past set was before the present one",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damage_is_reported(name: str) -> None:
    damage, rule = DAMAGES[name]
    scene = Scene()
    damage(scene)
    with pytest.raises(InvariantBroken) as caught:
        check_all(scene.view)
    assert rule in str(caught.value.data["rule"])
