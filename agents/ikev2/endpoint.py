"""All IKE SAs of one party, without sockets or clocks: datagrams and time in, effects out."""

from __future__ import annotations

from collections.abc import Sequence

from agents.ikev2.child import ChildOffer, ChildPolicy, ChildSa
from agents.ikev2.codec.payloads import Identification, Payload
from agents.ikev2.config import IkeConfig
from agents.ikev2.events import Event, Send
from agents.ikev2.handle import SaHandle
from agents.ikev2.model import Authenticate, Datagram, LocalIdentity, PeerAddress, RandomSource
from agents.ikev2.registry import ExchangeType


class IkeEndpoint:
    """One party. `now` is always seconds of the same monotonic clock. Not thread-safe."""

    def __init__(
        self,
        identity: LocalIdentity,
        authenticate: Authenticate,
        *,
        random: RandomSource,
        config: IkeConfig | None = None,
        auth_exchange: ExchangeType = ExchangeType.IKE_AUTH,
        child_policy: ChildPolicy | None = None,
    ) -> None:
        raise NotImplementedError

    def connect(
        self,
        peer: PeerAddress,
        expected: Identification,
        first: Sequence[Payload],
        now: float,
        *,
        child: ChildOffer | None = None,
        initial_contact: bool = True,
    ) -> SaHandle:
        """Begin IKE_SA_INIT, then the AUTH exchange carrying `first`.

        INITIAL_CONTACT is sent only if no other IKE SA with `expected` stands when AUTH is sent.
        Ends with Established or Closed.
        """
        raise NotImplementedError

    def request(self, sa: SaHandle, exchange: int, payloads: Sequence[Payload], now: float) -> int:
        """Send a protected request, or queue it while the window is full; ResponseReceived or RequestFailed follows."""
        raise NotImplementedError

    def respond(self, token: int, payloads: Sequence[Payload], now: float) -> None:
        """Answer an AuthRequest or RequestReceived. UnknownSa when its SA is gone."""
        raise NotImplementedError

    def close(self, sa: SaHandle, now: float) -> None:
        """Send a Delete and forget the SA when it is answered (or not). Closed follows."""
        raise NotImplementedError

    def poke(self, sa: SaHandle, now: float) -> None:
        """Retransmit what is outstanding now, and begin the backoff anew."""
        raise NotImplementedError

    def check_liveness(self, sa: SaHandle, now: float) -> None:
        """Send an empty INFORMATIONAL request."""
        raise NotImplementedError

    def create_child(self, sa: SaHandle, offer: ChildOffer, now: float) -> None:
        """CREATE_CHILD_SA; ChildEstablished or ChildFailed follows."""
        raise NotImplementedError

    def rekey_child(self, sa: SaHandle, child: ChildSa, now: float) -> None:
        raise NotImplementedError

    def delete_child(self, sa: SaHandle, child: ChildSa, now: float) -> None:
        raise NotImplementedError

    def rekey_ike(self, sa: SaHandle, now: float) -> None:
        raise NotImplementedError

    def receive(self, datagram: Datagram, now: float) -> None:
        """Take a datagram in. Never raises for what a peer may send."""
        raise NotImplementedError

    def tick(self, now: float) -> None:
        """Do all that is due at `now`."""
        raise NotImplementedError

    def next_timer(self) -> float | None:
        """When tick must be called next, or None."""
        raise NotImplementedError

    def take(self) -> list[Send | Event]:
        """What is to be sent and what happened since the last call, in order."""
        raise NotImplementedError
