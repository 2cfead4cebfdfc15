"""What a Local Key Server keeps through a power failure: its policy document, the revocation list, and counters.

- How far generations of its own groups may have gone. A generation is used only when a mark above it
  is on the disk, so that after a failure the next one is certainly new. Marks are set in blocks, or
  every rekey would wait for the disk.
- The highest version of its policy that it acted on: an older document in the same place is a restored one,
  and may allow a neighbour that was since taken out.
- The highest version of the revocation list that it acted on: an older list, or none, is a restored one.
- The highest (v, g) that it took of each neighbour's group: it takes no lower one, ever (RFC 9838 leaves
  this open). With it the signed state that said so: a neighbour whose folder was lost, or put back to an older
  one, is shown what it came to in its own words.

No traffic key is in here: keys are made anew. Gives Persist effects; knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable

from agents.policy import cbor
from agents.policy.errors import PolicyError
from agents.policy.group import GroupState
from agents.policy.names import GroupId
from agents.policy.revocation import FILE as REVOCATION
from agents.runtime.effects import Persist
from agents.runtime.storage import CorruptRecord, seal, unseal

DOCUMENT, COUNTERS = "policy.cose", "counters"
_KIND = "router-keys/lks-counters/2"
_MAX = (1 << 63) - 1
_LONGEST_STATE = 2048

Counters = tuple[int, int]
_Floor = tuple[int, int, bytes]
_NO_FLOOR: _Floor = (0, 0, b"")


class Retained:
    """The retained state of one router, in memory; every change gives its Persist before it may be acted on."""

    def __init__(self, record: bytes | None, emit: Callable[[Persist], None]) -> None:
        """From the record that was read, or None at the first start. CorruptRecord for a damaged one:
        the router then must not send, for nobody knows which generations it used."""
        self._emit = emit
        self._reserved = 0
        self._version = 0
        self._revocation = 0
        self._floors: dict[str, _Floor] = {}
        if record is not None:
            self._reserved, self._version, self._revocation, self._floors = _decode(unseal(_KIND, record))
        self.generation_floor = self._reserved
        """No generation up to and including this one may be used again."""

    def reserve(self, generation: int, block: int) -> None:
        """Have a mark at or above this generation, before it is used."""
        if generation > self._reserved:
            self._reserved = generation + block - 1
            self._write()

    @property
    def reserved(self) -> int:
        """The mark on the disk: no generation above it has been used."""
        return self._reserved

    def floor(self, group: GroupId) -> Counters:
        """The highest (v, g) taken of this group; (0, 0) when there was none."""
        version, generation, _signed = self._floors.get(str(group), _NO_FLOOR)
        return version, generation

    def shown(self, group: GroupId) -> bytes | None:
        """The signed state that `floor` is from; None when there was none."""
        return self._floors.get(str(group), _NO_FLOOR)[2] or None

    def took(self, state: GroupState, signed: bytes) -> None:
        """This state was taken, which the caller has verified."""
        if state.counters > self.floor(state.group):
            self._floors[str(state.group)] = (*state.counters, signed)
            self._write()

    def document(self, signed: bytes, version: int) -> None:
        """Keep this signed document; the caller has verified it."""
        self._emit(Persist(DOCUMENT, signed))
        self.acts_on(version)

    def acts_on(self, version: int) -> None:
        """This version is in force now. PolicyError when a later one has been."""
        if version < self._version:
            raise PolicyError(f"the retained policy has version {version}, but version {self._version} was in force")
        if version > self._version:
            self._version = version
            self._write()

    def revocation(self, signed: bytes, version: int) -> None:
        """Keep this revocation list; the caller has verified it. The list is on the disk before its number is: a
        number without its list would be taken for a list that somebody took away."""
        self._emit(Persist(REVOCATION, signed))
        self.acts_on_revocation(version)

    def acts_on_revocation(self, version: int) -> None:
        """This list is in force now (0: none). PolicyError when a later one has been."""
        if version < self._revocation:
            raise PolicyError(
                f"the retained revocation list has version {version}, but version {self._revocation} was in force"
            )
        if version > self._revocation:
            self._revocation = version
            self._write()

    def _write(self) -> None:
        floors = {name: list(floor) for name, floor in sorted(self._floors.items())}
        numbers = {"reserved": self._reserved, "version": self._version, "revocation": self._revocation}
        payload = cbor.encode({**numbers, "floors": floors})
        self._emit(Persist(COUNTERS, seal(_KIND, payload)))


def _decode(payload: bytes) -> tuple[int, int, int, dict[str, _Floor]]:
    try:
        value = cbor.decode(payload)
    except PolicyError as error:
        raise CorruptRecord(str(error)) from error
    numbers = ("reserved", "version", "revocation")
    counters = isinstance(value, dict) and all(_counter(value.get(name)) for name in numbers)
    if not isinstance(value, dict) or not counters or not isinstance(value.get("floors"), dict):
        raise CorruptRecord("the retained counters have another form")
    floors: dict[str, _Floor] = {}
    for name, floor in value["floors"].items():
        if not isinstance(name, str) or not isinstance(floor, list) or len(floor) != 3 or not _is_floor(*floor):
            raise CorruptRecord("the retained counters have another form")
        floors[name] = (floor[0], floor[1], floor[2])
    return value["reserved"], value["version"], value["revocation"], floors


def _is_floor(version: object, generation: object, signed: object) -> bool:
    return _counter(version) and _counter(generation) and isinstance(signed, bytes) and len(signed) <= _LONGEST_STATE


def _counter(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX
