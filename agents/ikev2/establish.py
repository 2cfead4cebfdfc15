"""The steps after authentication on either side: the SA is up, and INITIAL_CONTACT takes effect."""

from __future__ import annotations

from collections.abc import Sequence

from agents.ikev2.codec.payloads import Payload, notifies
from agents.ikev2.events import CloseReason, Established
from agents.ikev2.handshake import for_layer_above
from agents.ikev2.informational import DeleteIke
from agents.ikev2.lifetimes import jittered
from agents.ikev2.protocol import ESTABLISHED
from agents.ikev2.registry import NotifyType
from agents.ikev2.sa import IkeSa, SaState

MAX_WINDOW = 64


def establish(
    sa: IkeSa,
    payloads: Sequence[Payload],
    initial_contact: bool,
    now: float,
    above: tuple[Payload, ...] | None = None,
) -> None:
    """The peer is authenticated: its SA is up, and the SAs that INITIAL_CONTACT declares dead are closed. `above`: of
    these payloads, those for the layer above."""
    party, config = sa.party, sa.party.config
    sa.end_half_open()
    sa.state = SaState.ESTABLISHED
    sa.established_at = now
    sa.expires_at = None
    if sa.keys is not None:
        sa.keys = sa.keys.without_proof()
    sa.handler = ESTABLISHED
    window = notifies(payloads, NotifyType.SET_WINDOW_SIZE)
    if window and len(window[0].data) == 4:
        sa.requests.size = max(1, min(int.from_bytes(window[0].data, "big"), MAX_WINDOW))
    if config.ike_lifetime_s:
        sa.rekey_at = now + jittered(sa, config.ike_lifetime_s)
    if not party.allows(sa.suite):
        sa.rekey_at = now  # the required key exchange has changed since the handshake began
    assert sa.peer_id is not None
    if initial_contact:
        # An SA that came up after this handshake began belongs to the peer's present process: a peer sends
        # INITIAL_CONTACT later only if it has no other SA then.
        for other in tuple(party.by_peer.get(sa.peer_id, ())):
            if other is not sa and other.established_at is not None and other.established_at < sa.created_at:
                other.close(CloseReason.INITIAL_CONTACT, now)
    for oldest in sorted(party.by_peer.get(sa.peer_id, ()), key=lambda item: item.handle.number):
        if len(party.by_peer[sa.peer_id]) < config.max_sas_per_peer:
            break
        oldest.end(DeleteIke(), CloseReason.DELETED_BY_US, now)
    party.up(sa)
    above = for_layer_above(payloads) if above is None else above
    party.emit(Established(sa.handle, sa.peer_id, sa.peer, above, sa.initiator, initial_contact))
