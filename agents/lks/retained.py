"""What a Local Key Server keeps through a power failure: its policy document, the revocation list, and counters.

- How far generations of its own groups may have gone. A generation is used only when a mark above it
  is on the disk, so that after a failure the next one is certainly new. Marks are set in blocks, or
  every rekey would wait for the disk.
- The highest version of its policy that it acted on, of each key that signed any: an older document in the same place
  is a restored one, and may allow a neighbour that was since taken out.
- The highest version of the revocation list that it acted on: an older list, or none, is a restored one.
- The last (v, g) that it took of each neighbour's group, of each key that said so: it takes no lower generation, ever,
  and no lower version that its own policy has come to (RFC 9838 leaves this open). With it the signed state: a
  neighbour whose folder was lost, or put back to an older one, is shown what it came to in its own words.

A mark belongs to the key that made it. A router or administrator that comes back with a new key begins anew, and the
marks of a key that counts no more bind nobody: else the last word of one that lied would shut out its successor.

No traffic key is in here: keys are made anew. Gives Persist effects; knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from agents.policy import cbor
from agents.policy.errors import PolicyError
from agents.policy.group import MOST_AHEAD, MOST_VERSIONS_AHEAD, GroupState, Issuer, SignedState, signed_by
from agents.policy.names import GroupId
from agents.policy.revocation import FILE as REVOCATION
from agents.policy.revocation import key_hash
from agents.runtime.effects import Persist
from agents.runtime.storage import CorruptRecord, seal, unseal_any

DOCUMENT, COUNTERS = "policy.cose", "counters"
_STEM, _FORMAT = "router-keys/lks-counters", 3
_KIND = f"{_STEM}/{_FORMAT}"
_MAX = (1 << 63) - 1
_LONGEST_STATE = 2048
MOST_FLOORS = 1 << 15
"""The most marks of groups that are kept; beyond it, first those of revoked keys go, then the oldest."""
MOST_OCTETS = MOST_FLOORS * (_LONGEST_STATE + 512)
ROOT = b""
"""The owner of a document version's mark when the domain's root key signed it."""
_UNKNOWN = "?"
"""The owner of a mark in an older record, which did not name one: the signer of the document in force."""

Counters = tuple[int, int]
_Place = tuple[str, str]
"""A group's name and the key's hash, hexadecimal."""


class _Floor(NamedTuple):
    """A mark: the last state that was accepted of a group, from one key."""

    version: int
    generation: int
    signed: bytes


class Standing(Protocol):
    """The keys whose marks are valid now."""

    def signers(self, group: GroupId) -> Mapping[Issuer, bytes]:
        """The keys (SubjectPublicKeyInfo) that may speak for this group."""

    def newest_version(self) -> int:
        """The version of the policy in force here."""

    def revoked(self, key: bytes) -> bool:
        """True if the administrator's key with this hash is revoked."""


class Retained:
    """The retained state of one router, in memory; every change gives its Persist before the change may take effect.

    `standing`: None where marks are not checked; `owner`: the router's party id, which its records hold.
    """

    def __init__(
        self, record: bytes | None, emit: Callable[[Persist], None], standing: Standing | None = None, owner: str = ""
    ) -> None:
        """From the record that was read, or None at the first start. CorruptRecord for a damaged record, and for
        another router's: the router must not send then, since the generations that it used are unknown."""
        self._emit, self._standing, self._owner = emit, standing, owner
        self._reserved = 0
        self._versions: dict[str, int] = {}
        self._revocation = 0
        self._floors: dict[_Place, _Floor] = {}
        if record is not None:
            of, self._reserved, self._versions, self._revocation, self._floors = _read(record)
            if of not in ("", owner):
                raise CorruptRecord(
                    f"the retained {COUNTERS} are of {of}, not of {owner}: only its own counters say what it has sent "
                    "with"
                )
        self.generation_floor = self._reserved
        """No generation up to and including this one may be used again."""

    def reserve(self, generation: int, block: int) -> None:
        """Set a mark at or above this generation, before it is used."""
        if generation > self._reserved:
            self._reserved = generation + block - 1
            self._write()

    @property
    def reserved(self) -> int:
        """The mark on the disk: no generation above it has been used."""
        return self._reserved

    # -- groups ------------------------------------------------------------------------------------

    def floor(self, group: GroupId) -> Counters:
        """The highest version and the highest generation of the accepted states of this group, from all keys that may
        speak for it now; (0, 0) without any."""
        return _highest(self._marks(group))

    def signed_state(self, group: GroupId) -> bytes | None:
        """The signed state of the highest accepted generation; None without one."""
        last = max(self._marks(group), key=lambda each: (each.generation, each.version), default=None)
        return None if last is None else last.signed or None

    def check(self, state: GroupState) -> None:
        """PolicyError unless this verified state may be accepted: its generation is not below an accepted one, its
        version is not below one that was accepted and that our own policy has reached, and neither is implausibly high.

        A version beyond our own policy's cannot be judged. Its speaker may have acted on it and no longer do so: its
        folder was restored, or the version's administrator was revoked. We follow the speaker back to a lower version,
        but only with a generation that was never accepted.
        """
        marks = self._marks(state.group)
        version, generation = _highest(marks)
        newest = self._standing.newest_version() if self._standing is not None else _MAX
        if state.v > newest + MOST_VERSIONS_AHEAD:
            raise PolicyError(f"group {state.group}: version {state.v} is too far ahead of {newest}")
        if state.issuer == "lks" and generation and state.g > generation + MOST_AHEAD:
            raise PolicyError(f"group {state.group}: generation {state.g} is too far ahead of {generation}")
        reached, _generation = _highest([each for each in marks if each.version <= newest])
        again = state.g == generation and state.v < version
        if state.g < generation or state.v < reached or again:
            raise PolicyError(f"group {state.group}: state {state.counters} is older than {(version, generation)}")

    def took(self, taken: SignedState) -> None:
        """This state was accepted."""
        state = taken.said
        key = (str(state.group), self._signer(state.group, state.issuer))
        if state.counters != self._floors.get(key, _Floor(0, 0, b""))[:2]:
            for before in (key, (key[0], _UNKNOWN)):
                self._floors.pop(before, None)
            self._floors[key] = _Floor(*state.counters, taken.octets)  # the newest last
            self._write()

    def _marks(self, group: GroupId) -> list[_Floor]:
        return [each for _key, each in self._counting(group)]

    def _counting(self, group: GroupId) -> Iterator[tuple[str, _Floor]]:
        signers = self._standing.signers(group) if self._standing is not None else {}
        for issuer in signers:
            key = (str(group), self._signer(group, issuer))
            if key in self._floors:
                yield key[1], self._floors[key]
        unknown = self._floors.get((str(group), _UNKNOWN))
        if unknown is not None and (not unknown.signed or signed_by(unknown.signed, signers.values())):
            yield _UNKNOWN, unknown

    def _signer(self, group: GroupId, issuer: Issuer) -> str:
        key = self._standing.signers(group).get(issuer) if self._standing is not None else None
        return _UNKNOWN if key is None else key_hash(key).hex()

    # -- policy ------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """The highest version that was in force here by a valid key."""
        return max((version for key, version in self._versions.items() if not self._is_revoked(key)), default=0)

    def document(self, signed: bytes, version: int, signer: bytes = ROOT) -> None:
        """Keep this signed document, which the caller has verified."""
        self._emit(Persist(DOCUMENT, signed))
        self.acts_on(version, signer)

    def acts_on(self, version: int, signer: bytes = ROOT) -> None:
        """This version, signed by this key, is in force now. PolicyError when a later one by a valid key has been."""
        key = "" if signer == ROOT else key_hash(signer).hex()
        if self._versions.get(_UNKNOWN) == version:
            self._versions[key] = self._versions.pop(_UNKNOWN)
        binding = {of: each for of, each in self._versions.items() if of == key or not self._is_revoked(of)}
        later = max(binding.values(), default=0)
        if version < later:
            raise PolicyError(f"the retained policy has version {version}, but version {later} was in force")
        if version > self._versions.get(key, 0):
            binding.pop(_UNKNOWN, None)
            self._versions = {**binding, key: version}
            self._write()

    def _is_revoked(self, key: str) -> bool:
        return key not in ("", _UNKNOWN) and self._standing is not None and self._standing.revoked(bytes.fromhex(key))

    # -- revocation --------------------------------------------------------------------------------

    def revocation(self, signed: bytes, version: int) -> None:
        """Keep this revocation list, which the caller has verified. The list is on the disk before its number: a number
        without a list would look like a removed list."""
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

    # -- the record --------------------------------------------------------------------------------

    def _write(self) -> None:
        self._forget()
        floors: dict[str, list[list[object]]] = {}
        for (name, key), floor in self._floors.items():
            floors.setdefault(name, []).append([key, *floor])
        numbers = {"reserved": self._reserved, "versions": self._versions, "revocation": self._revocation}
        payload = cbor.encode({"router": self._owner, **numbers, "floors": floors})
        self._emit(Persist(COUNTERS, seal(_KIND, payload)))

    def _forget(self) -> None:
        over = len(self._floors) - MOST_FLOORS
        if over > 0:
            counts = {
                (name, key): any(key == each for each, _floor in self._counting(GroupId.decode(name.encode())))
                for name, key in self._floors
            }
            for key in sorted(self._floors, key=lambda each: counts[each])[:over]:
                del self._floors[key]


def _highest(marks: Sequence[_Floor]) -> Counters:
    """The highest version and the highest generation of these marks."""
    return max((each.version for each in marks), default=0), max((each.generation for each in marks), default=0)


_Record = tuple[str, int, dict[str, int], int, dict[_Place, _Floor]]


def _read(record: bytes) -> _Record:
    """A record of this format, or of one up to 2, which did not name the marks' owners. CorruptRecord."""
    form, payload = unseal_any(_STEM, _FORMAT, record)
    return _decode(payload) if form == _FORMAT else _decode_older(payload, form)


def _map(payload: bytes, *names: str) -> dict[str, object]:
    try:
        value = cbor.decode(payload, most_octets=MOST_OCTETS, most_items=8 * MOST_FLOORS)
    except PolicyError as error:
        raise CorruptRecord(str(error)) from error
    if not isinstance(value, dict) or not all(_counter(value.get(name)) for name in names):
        raise _other_form()
    return value


def _decode(payload: bytes) -> _Record:
    value = _map(payload, "reserved", "revocation")
    versions, kept, owner = value.get("versions"), value.get("floors"), value.get("router", "")
    if not isinstance(versions, dict) or not isinstance(kept, dict) or not isinstance(owner, str):
        raise _other_form()
    if not all(_is_key(key) and _counter(each) for key, each in versions.items()):
        raise _other_form()
    floors: dict[_Place, _Floor] = {}
    for name, entries in kept.items():
        if not isinstance(name, str) or not isinstance(entries, list):
            raise _other_form()
        for entry in entries:
            if not isinstance(entry, list) or len(entry) != 4 or not _is_key(entry[0]):
                raise _other_form()
            floors[name, entry[0]] = _as_floor(entry[1:])
    return owner, _number(value["reserved"]), versions, _number(value["revocation"]), floors


def _decode_older(payload: bytes, form: int) -> _Record:
    """Format 1: early records have no version, or no revocation list, and none has signed states."""
    first = form == 1
    value = _map(payload, "reserved", *(() if first else ("version", "revocation")))
    version, revocation, kept = value.get("version", 0), value.get("revocation", 0), value.get("floors")
    if not isinstance(kept, dict) or not all(isinstance(name, str) for name in kept):
        raise _other_form()
    if not _counter(version) or not _counter(revocation):
        raise _other_form()
    marks = {name: [*floor, b""] if first and isinstance(floor, list) else floor for name, floor in kept.items()}
    floors: dict[_Place, _Floor] = {(name, _UNKNOWN): _as_floor(floor) for name, floor in marks.items()}
    versions = {_UNKNOWN: _number(version)} if version else {}
    return "", _number(value["reserved"]), versions, _number(revocation), floors


def _as_floor(value: object) -> _Floor:
    if isinstance(value, list) and len(value) == 3:
        version, generation, signed = value
        if _counter(version) and _counter(generation) and isinstance(signed, bytes) and len(signed) <= _LONGEST_STATE:
            return _Floor(version, generation, signed)
    raise _other_form()


def _is_key(value: object) -> bool:
    if not isinstance(value, str):
        return False
    return value in ("", _UNKNOWN) or (len(value) == 64 and all(each in "0123456789abcdef" for each in value))


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value


def _counter(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX


def _other_form() -> CorruptRecord:
    return CorruptRecord("the retained counters have another form")
