"""State that the parts of a Local Key Server share: identity, document, retained state, kernel counters, effects.

Knows nothing of how any part works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.gikev2 import DataSa
from agents.ikev2 import Identification, LocalIdentity
from agents.ikev2.model import RandomSource, uniform
from agents.ipsec.protection import IPAddress
from agents.lks.retained import COUNTERS, DOCUMENT, ROOT, Retained
from agents.policy.document import PolicyDocument
from agents.policy.errors import in_file
from agents.policy.group import GroupState, Issuer, sign_group_state
from agents.policy.names import GroupId, party_id
from agents.runtime.boundary import Boundary
from agents.runtime.effects import Effect, Event


class Counter(Protocol):
    """The kernel's counter: agents.ipsec.port.KeyPort.sequence."""

    def __call__(self, spi: int, destination: IPAddress) -> int:
        """The last number used. LookupError when there is no such SA."""


@dataclass(frozen=True, slots=True)
class Liveness:
    """Seconds without a message of a peer after which an LKS checks that it is alive (RFC 7296 §2.4)."""

    neighbor_s: float = 20.0
    pair_s: float = 20.0
    dks_s: float = 60.0


LIVENESS = Liveness()


class Context:
    """The context of one router. `kernel_dirty`: set by a part that changed keys; the core then updates the kernel."""

    def __init__(
        self,
        document: PolicyDocument,
        private_key: Ed25519PrivateKey,
        retained_record: bytes | None,
        effects: list[Effect],
        *,
        random: RandomSource,
        sequence: Counter,
        log_keys: bool = False,
        liveness: Liveness = LIVENESS,
        signer: bytes = ROOT,
        revoked: Callable[[bytes], bool] = lambda _key: False,
    ) -> None:
        """CorruptRecord for a retained record that is damaged or another router's, PolicyError for a document older
        than one that was in force. `effects`: takes the effects; `signer`: the administrator's key that signed the
        document; `revoked`: True for the hash of a revoked administrator's key."""
        self.effects = effects
        self.document = document
        self.private_key = private_key
        self.random = random
        self.log_keys = log_keys
        self.liveness = liveness
        self.kernel_dirty = True
        self._sequence = sequence
        self._revoked = revoked
        owner = party_id(document.domain, document.router)
        with in_file(COUNTERS):
            self.retained = Retained(retained_record, self.effects.append, self, owner.decode())
        self.newer = document.version > self.retained.version
        """True if the document was put here while the router was down: it has never been in force."""
        with in_file(DOCUMENT):
            self.retained.acts_on(document.version, signer)
        self.boundary = Boundary(self.event)
        self.policy_shown = 0
        """The highest version of our policy for which a neighbour has returned our own signed state."""
        self._generation = self.retained.generation_floor
        self.identity = LocalIdentity(Identification.key_id(owner), private_key)

    # -- whose marks count (Standing) ---------------------------------------------------------------

    def signers(self, group: GroupId) -> Mapping[Issuer, bytes]:
        """As Standing.signers: the speaker's own LKS, and the DKS."""
        keys: dict[Issuer, bytes] = {"dks": self.document.dks.key}
        if group.router == self.document.router:
            keys["lks"] = self.document.identity
        else:
            interfaces = self.document.interfaces
            neighbor = next((each for one in interfaces for each in one.neighbors if each.router == group.router), None)
            if neighbor is not None:
                keys["lks"] = neighbor.key
        return keys

    def newest_version(self) -> int:
        """As Standing.newest_version."""
        return self.document.version

    def revoked(self, key: bytes) -> bool:
        """As Standing.revoked."""
        return self._revoked(key)

    def event(self, kind: str, **fields: Any) -> None:
        """Record an event."""
        self.effects.append(Event(kind, fields))

    def next_generation(self, in_use: Iterable[int] = (), above: int = 0) -> int:
        """A generation `above` this one that no group of ours ever had, reserved on the disk before use.

        Its SPIs differ from those of the generations `in_use`, which may differ from it only in bits that an SPI does
        not hold. The DKS makes even generations and the LKS odd ones, whichever makes them now. So neither needs to
        know the other's last one to avoid a repetition, also when policy changes the issuer.
        """
        taken = list(in_use)  # fewer than the odd generations that SPIs distinguish: MOST_GENERATIONS
        self._generation = max(self._generation, above) + 1
        while self.clashes(self._generation, taken) or self._generation % 2 == 0:
            self._generation += 1
        self.retained.reserve(self._generation, self.document.generation_block)
        return self._generation

    def shared(self, group: GroupId) -> bool:
        """True if the DKS makes generations of this group, and the speaker does while the DKS is away."""
        return self.document.issuer_of(group) == "dks" and self.document.local_key_server

    def clashes(self, generation: int, in_use: Iterable[int]) -> bool:
        """True if a generation shares SPIs with one in use."""
        period = 1 << self.document.spi.generation_bits
        return any(generation % period == each % period for each in in_use)

    def passed_generation(self, generation: int) -> None:
        """Another party may have made this generation for us, though it never arrived: ours must be above it."""
        self._generation = max(self._generation, generation)

    def given_generation(self, generation: int) -> None:
        """The DKS has made this generation for us: it counts as used, also after a power failure."""
        self._generation = max(self._generation, generation)
        self.retained.reserve(generation, self.document.generation_block)

    def mark(self, group: GroupId) -> bytes | None:
        """Our signed statement to the DKS of the highest generation of this group of ours that our disk has reserved,
        including those that our LKS may have made. None without any."""
        version, known = self.retained.floor(group)
        known = max(known, self.retained.reserved)
        state = GroupState.of(group, max(version, self.document.version), known, "lks")
        return sign_group_state(state, self.private_key) if known else None

    def last_sequence(self, sa: DataSa) -> int:
        """The last sequence number used on an outbound SA; 0 when the kernel does not have it."""
        try:
            return self._sequence(sa.spi, sa.destination)
        except LookupError:
            return 0

    def uniform(self, low: float, high: float) -> float:
        """A random number of this range."""
        return uniform(self.random, low, high)

    def party(self, name: str) -> Identification:
        """The IKE identity of a router or the DKS of our domain."""
        return Identification.key_id(party_id(self.document.domain, name))


__all__ = ["LIVENESS", "Context", "Counter", "Liveness", "RandomSource"]
