"""The domain as pages show it: every router, interface and adjacency in the draft, as committed, as confirmed.

Pure functions over domains and over what GET /v1/confirmations says. Knows nothing of HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agents import look
from agents.ipsec.protection import Mode
from agents.policy.difference import shown_modes
from agents.policy.domain import AdjacencyEntry, Domain, End, InterfaceEntry, RouterEntry
from agents.policy.revocation import key_hash

State = Literal["same", "new", "changed", "removed"]
Heard = Mapping[tuple[str, str], Sequence[tuple[End, State]]]
"""By place, router and interface: the other ends of its adjacencies."""
Said = Mapping[str, Mapping[str, Any]]
"""`routers` of GET /v1/confirmations; empty while nothing is committed."""
NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Neighbor:
    """What an interface may hear. `keyed`: by the router's own word; None: it has said nothing."""

    place: str
    router: str
    state: State
    keyed: bool | None


@dataclass(frozen=True, slots=True)
class Interface:
    """A row. Modes in words; `confirmed`: what the router says its kernel has."""

    name: str
    place: str
    address: str
    link: str
    protocols: str
    state: State
    draft: str
    committed: str
    confirmed: str
    neighbors: tuple[Neighbor, ...]

    @property
    def differs(self) -> bool:
        """Whether draft, committed and confirmed are not all the same."""
        return len({self.draft, self.committed, self.confirmed}) > 1


@dataclass(frozen=True, slots=True)
class Router:
    """A row. `confirmed`: the version of its word; `at`: Unix seconds by its own clock; `missing`: what it has not
    confirmed of what is committed."""

    name: str
    state: State
    approved: bool
    fingerprint: str
    interfaces: tuple[Interface, ...]
    confirmed: int | None
    at: int | None
    list_version: int | None
    missing: tuple[str, ...]

    @property
    def in_force(self) -> bool:
        """Whether it has confirmed all that is committed."""
        return self.confirmed is not None and not self.missing

    def fits(self, words: str) -> bool:
        """Whether a search finds it: all words, in names, addresses, modes or neighbours."""
        said = [self.name, self.state, "approved" if self.approved else "not approved", self.fingerprint]
        said += [] if self.in_force else ["waits"]
        for each in self.interfaces:
            said += [each.name, each.place, each.address, each.protocols, each.draft, each.committed, each.confirmed]
            said += [other.place for other in each.neighbors]
        whole = "\n".join(said).lower()
        return all(word in whole for word in words.lower().split())


@dataclass(frozen=True, slots=True)
class Adjacency:
    """A row. Modes of both ends as they are in the draft, else as committed."""

    a: str
    b: str
    routers: tuple[str, str]
    state: State
    modes: tuple[str, str]
    keyed: bool | None


def fingerprint(key: bytes) -> str:
    """SHA-256 of the key (DER SubjectPublicKeyInfo), hex in groups of four."""
    text = key_hash(key).hex()
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def routers(draft: Domain, committed: Domain | None, said: Said) -> list[Router]:
    """Every router of the draft or the last version, by name."""
    old = committed.routers if committed is not None else {}
    heard = _heard(draft, committed)
    return [
        _router(name, draft.routers.get(name), old.get(name), heard, said.get(name, {}))
        for name in sorted({*draft.routers, *old}, key=lambda name: (name.lower(), name))
    ]


def _router(
    name: str, now: RouterEntry | None, was: RouterEntry | None, heard: Heard, confirmed: Mapping[str, Any]
) -> Router:
    entry = now or was
    assert entry is not None
    statement: Mapping[str, Any] = confirmed.get("said") or {}
    own = {each["name"]: each for each in statement.get("interfaces", ())}
    names = list(dict.fromkeys(each.name for each in (*entry.interfaces, *(was.interfaces if was else ()))))
    interfaces = tuple(
        _interface(
            (name, each), now.interface(each) if now else None, was.interface(each) if was else None,
            heard.get((name, each), ()), own.get(each),
        )
        for each in names
    )  # fmt: skip
    return Router(
        name=name,
        state=_state(was, now),
        approved=entry.approved,
        fingerprint=fingerprint(entry.key),
        interfaces=interfaces,
        confirmed=statement.get("version"),
        at=statement.get("at"),
        list_version=statement.get("revocation"),
        missing=tuple(confirmed.get("missing", ())),
    )


def _state(was: object, now: object) -> State:
    if was is None:
        return "new"
    return "removed" if now is None else "same" if was == now else "changed"


def _interface(
    here: tuple[str, str],
    now: InterfaceEntry | None,
    was: InterfaceEntry | None,
    heard: Iterable[tuple[End, State]],
    own: Mapping[str, Any] | None,
) -> Interface:
    entry = now or was
    assert entry is not None
    keyed = set(own["keyed"]) if own is not None else None
    return Interface(
        name=entry.name,
        place=":".join(here),
        address=str(entry.address or entry.address6),
        link=entry.link,
        protocols=", ".join(each.value for each in entry.protocols),
        state=_state(was, now),
        draft=shown_modes(now) if now is not None else NOTHING,
        committed=shown_modes(was) if was is not None else NOTHING,
        confirmed=_confirmed(own),
        neighbors=tuple(
            Neighbor(str(other), other.router, state, None if keyed is None else other.router in keyed)
            for other, state in heard
        ),
    )


def _confirmed(own: Mapping[str, Any] | None) -> str:
    if own is None or own["mode"] is None:
        return NOTHING
    others = {each["protocol"]: each["mode"] for each in own.get("modes") or ()}
    return str(own["mode"]) + "".join(f", {protocol} {mode}" for protocol, mode in others.items())


def _heard(draft: Domain, committed: Domain | None) -> Heard:
    """The other ends of every interface's adjacencies."""
    states: dict[tuple[str, str], list[tuple[End, State]]] = {}
    for each, state in _joined(draft, committed):
        for mine, other in ((each.a, each.b), (each.b, each.a)):
            states.setdefault(mine.router_interface, []).append((other, state))
    return states


def _joined(draft: Domain, committed: Domain | None) -> Iterator[tuple[AdjacencyEntry, State]]:
    old = {each.router_interfaces: each for each in committed.adjacencies} if committed is not None else {}
    for each in draft.adjacencies:
        yield each, "same" if each.router_interfaces in old else "new"
    present = {each.router_interfaces for each in draft.adjacencies}
    yield from ((each, "removed") for router_interfaces, each in old.items() if router_interfaces not in present)


def adjacencies(draft: Domain, committed: Domain | None, said: Said) -> list[Adjacency]:
    """Every adjacency of the draft or the last version, in order of the names."""
    rows = []
    for each, state in _joined(draft, committed):
        ends = []
        for end, other in ((each.a, each.b), (each.b, each.a)):
            entry = None
            for domain in (draft, committed):
                router = domain.routers.get(end.router) if domain is not None else None
                entry = entry or (router.interface(end.interface) if router is not None else None)
            own = (said.get(end.router, {}).get("said") or {}).get("interfaces", ())
            keyed = next((other.router in mine["keyed"] for mine in own if mine["name"] == end.interface), None)
            ends.append((shown_modes(entry) if entry is not None else NOTHING, keyed))
        words = [keyed for _, keyed in ends]
        both = None if None in words else all(words)
        rows.append(
            Adjacency(str(each.a), str(each.b), (each.a.router, each.b.router), state, (ends[0][0], ends[1][0]), both)
        )
    return sorted(rows, key=lambda each: (each.a, each.b))


def _net(interface: InterfaceEntry) -> str:
    """Its IPv4 subnet; empty where it has none."""
    return "" if interface.address is None else str(interface.address.network)


def graph(draft: Domain, routers: list[Router], joined: list[Adjacency]) -> dict[str, Any]:
    """What the drawing needs, as JSON."""
    nets = {router.name: [[each.name, _net(each)] for each in router.interfaces] for router in draft.routers.values()}
    return {
        "marks": {each.value: look.MARKS[each.value][0] for each in Mode},
        "nodes": [
            {
                "name": each.name,
                "state": each.state,
                "approved": each.approved,
                "inForce": each.in_force,
                "interfaces": nets.get(each.name, []),
            }
            for each in routers
        ],
        "edges": [
            {"a": each.a, "b": each.b, "routers": each.routers, "state": each.state, "modes": each.modes,
             "keyed": each.keyed}
            for each in joined
        ],
    }  # fmt: skip
