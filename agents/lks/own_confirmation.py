"""A router's confirmation: its statement of the policy in force, sent to the DKS whenever it changes.

Not more often than every MIN_S seconds, and not before SETTLE_S without a change or a time limit, so that a boot with
many neighbours needs one confirmation. A confirmation that the DKS has not acknowledged is sent again. Knows nothing of
windows and SAs: the link to the DKS carries it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agents.gikev2 import notifies
from agents.ikev2 import FailureReason, Payload, Request
from agents.ikev2.codec.payloads import first_error
from agents.ipsec.protection import Mode, RoutingProtocol
from agents.lks.context import Context
from agents.policy.confirmation import Confirmation, InForce, sign_confirmation
from agents.policy.document import InterfacePolicy, ProtocolMode
from agents.policy.errors import PolicyError
from agents.runtime.effects import Kernel

MIN_S = 2.0
SETTLE_S = 0.3

Keyed = Callable[[InterfacePolicy], tuple[str, ...]]
_Modes = tuple[Mode | None, tuple[ProtocolMode, ...] | None]
_Said = tuple[int, int, tuple[tuple[str, _Modes, tuple[str, ...]], ...]]
"""The content of a confirmation without its time."""


class Confirm(Request):
    """Our confirmation in a message of its own (INFORMATIONAL)."""

    def __init__(self, confirming: Confirming, payloads: Sequence[Payload]) -> None:
        super().__init__(payloads)
        self._confirming = confirming

    def answered(self, payloads: Sequence[Payload], now: float) -> None:
        self._confirming.ended(self, now, ok=first_error(payloads) is None)

    def failed(self, reason: FailureReason, now: float) -> None:
        self._confirming.ended(self, now, ok=False)


class Confirming:
    """The confirmation of one router. `keyed`: the neighbours on an interface with which keys are shared both ways;
    `listed`: the version of the revocation list, 0 without one; `wall`: Unix seconds."""

    def __init__(self, context: Context, keyed: Keyed, listed: Callable[[], int], wall: Callable[[], float]) -> None:
        self._context, self._keyed, self._listed, self._wall = context, keyed, listed, wall
        self._in_force: dict[str, dict[RoutingProtocol, Mode]] = {}
        self._modes_of: dict[str, tuple[InterfacePolicy, _Modes]] = {}  # `_modes` of the policy in force
        self._said: _Said | None = None
        self._offered: Confirmation | None = None
        self._sent: Confirm | None = None
        self._due: float | None = None
        self._not_before = 0.0

    def enforced(self, kernel: Kernel | None) -> None:
        """The kernel now has this content; None: unknown, since it refused part of it."""
        interfaces = () if kernel is None else kernel.interfaces
        self._in_force = {}
        self._modes_of = {}
        for each in interfaces:
            self._in_force.setdefault(each.name, {})[each.protocol] = each.mode

    def _saying(self) -> _Said:
        """The present content of a confirmation; evaluated after every datagram."""
        document = self._context.document
        states = [(each.name, self._modes(each), self._keyed(each)) for each in document.interfaces]
        return document.version, self._listed(), tuple(states)

    def _modes(self, interface: InterfacePolicy) -> _Modes:
        """The kernel's part of it; None unless it has every protocol."""
        known = self._modes_of.get(interface.name)
        if known is None or known[0] is not interface:
            known = self._modes_of[interface.name] = interface, self._modes_now(interface)
        return known[1]

    def _modes_now(self, interface: InterfacePolicy) -> _Modes:
        modes = self._in_force.get(interface.name, {})
        if not modes or any(each not in modes for each in interface.protocols):
            return None, None
        fields = interface.with_modes({each: modes[each] for each in interface.protocols})
        return fields["mode"], fields["modes"]

    def _now(self) -> Confirmation:
        document = self._context.document
        return Confirmation(
            domain=document.domain,
            router=document.router,
            version=document.version,
            at=max(0, int(self._wall())),
            interfaces=tuple(
                InForce(name=name, mode=mode, modes=modes, keyed=keyed)
                for name, (mode, modes), keyed in self._saying()[2]
            ),
            revocation=self._listed() or None,
        )

    def look(self, now: float) -> None:
        """Check for a change since the last confirmation."""
        if self._said is not None and self._saying() == self._said:
            self._due = None
        elif self._due is None:
            self._due = max(now + SETTLE_S, self._not_before)

    # -- for who carries it ----------------------------------------------------------------------------

    def offer(self, now: float) -> list[Payload]:
        """The notification to send now; None when it does not fit a message."""
        confirmation = self._now()
        try:
            signed = sign_confirmation(confirmation, self._context.private_key)
        except PolicyError as error:
            self._context.event("error", what="confirmation", detail=str(error))
            self._said, self._due = _said(confirmation), None  # pointless to try again until the content changes
            return []
        self._offered, self._due = confirmation, None
        self._not_before = now + MIN_S
        return [notifies.confirmation(signed)]

    def due(self, now: float) -> bool:
        """True if a confirmation is due and none is outstanding."""
        return self._due is not None and self._due <= now and self._sent is None

    def next_timer(self) -> float | None:
        """When something is due."""
        return self._due if self._sent is None else None

    def request(self, now: float) -> Confirm | None:
        """The payload to send by itself now; None when it does not fit a message."""
        payloads = self.offer(now)
        self._sent = Confirm(self, payloads) if payloads else None
        return self._sent

    def ended(self, request: Confirm, now: float, *, ok: bool) -> None:
        """A request of ours was answered, or will not be."""
        if request is not self._sent:
            return
        self._sent = None
        if ok:
            self.delivered(now)
        else:
            self._due = self._not_before = now + MIN_S

    def delivered(self, now: float) -> None:
        """The DKS has the confirmation that was sent last."""
        if self._offered is None:
            return
        delivered, self._offered = self._offered, None
        self._said = _said(delivered)
        self._context.event("confirmed", version=delivered.version)
        self.look(now)

    def parted(self) -> None:
        """There is no IKE SA with the DKS: the next contact carries it."""
        self._sent, self._offered = None, None


def _said(confirmation: Confirmation) -> _Said:
    interfaces = ((each.name, (each.mode, each.modes), each.keyed) for each in confirmation.interfaces)
    return confirmation.version, confirmation.revocation or 0, tuple(interfaces)
