"""From protected interfaces and keys to the SPD and SAD that shall be in the kernel.

`wanted_state` is a pure function; it knows nothing of netlink, of what the kernel holds
now, or of the order in which changes are safe (`reconciler`). docs/ipsec.md shows the
policies as tables and tells why each is as it is.

What Linux does, and what follows:

- ospfd and pimd send through IP_HDRINCL sockets. Their packets are looked up as IP protocol
  255, not 89 or 103. So the multicast groups are matched whatever the protocol, and unicast
  OSPF is matched as 255 and as 89.
- `dev` works for `dir out`. For `dir in` it is compared with the device of the input route:
  the receiving interface for IPv6 multicast, but `lo` for everything else. So IPv6 is bound
  by (group, dev) and by the link-local destination, IPv4 by the source's subnet.
- An inbound SA is found by (destination, SPI, protocol); only its selector binds the source.
- The SA that sends is named by its SPI in the policy, never left to "the newest fits".
"""

from __future__ import annotations

import math
import socket
from collections.abc import Iterable

from agents.ipsec.model import (
    UNLIMITED,
    Action,
    Algorithm,
    Direction,
    Guard,
    Lifetime,
    Policy,
    SaDirection,
    SecurityAssociation,
    Selector,
    Template,
    Wanted,
    host_network,
)
from agents.ipsec.protection import (
    GroupSa,
    IPAddress,
    IPNetwork,
    Mode,
    ProtectedInterface,
    RoutingProtocol,
    Suite,
)

__all__ = [
    "OWN_PRIORITIES",
    "OWN_REQID",
    "OWN_REQIDS",
    "PAIR_REQIDS",
    "GroupSa",
    "Mode",
    "ProtectedInterface",
    "RoutingProtocol",
    "Suite",
    "wanted_state",
]

OWN_REQID = 0x4C4B53
"""The request id of every SA and template made here: the reconciler recognises its own by it.

One for all, because a policy's sources cannot distinguish IPv6 and pair SAs; the SAs' selectors bind each to its
speaker, group and protocol.
"""

PAIR_REQIDS = range(OWN_REQID + 1, OWN_REQID + 1 + (1 << 17))
"""The request ids of pairs of routers that are not neighbours (`unicast`), one for each peer."""

OWN_REQIDS = range(OWN_REQID, PAIR_REQIDS.stop)

OWN_PRIORITIES = range(84800, 85000)
"""The priorities of every policy made here: the reconciler recognises its own by them. They precede those of the common
IKE daemons (strongSwan's start above 100,000)."""

REPLAY_WINDOW = 32
GRACE_S = 10
"""How much longer than planned the kernel keeps an SA: the agent removes it before. If the agent is dead or stopped,
the key is out of use by then, and packets that need one are dropped or stay in clear as the policies say, which have no
end."""
RAW_PROTOCOL = 255
"""IPPROTO_RAW: the protocol with which the kernel looks up a packet of an IP_HDRINCL socket."""

_PRIORITY_OUT = 84800
_PRIORITY_OUT_REST = 84801
_PRIORITY_IN = 84810  # plus up to 128: a longer source prefix is matched earlier
_PRIORITY_IN_REST = 84999
_STRICTEST_FIRST = tuple(reversed(Mode))


def wanted_state(interfaces: Iterable[ProtectedInterface], sas: Iterable[GroupSa], now: float = 0.0) -> Wanted:
    """The policies and SAs for these interfaces (every protocol's) with these keys.

    Interfaces in `clear` mode are included: they need a pass policy while others are `required`. Keys of other
    interfaces or protocols are left out, and so are outbound keys in mode `clear`. Those of `listen` stay, though
    unused: their sequence numbers must not restart when the mode changes and changes back. `now`: the keys' planned
    ends are counted from it. ValueError when two keys have one (destination, SPI).
    """
    named = {(each.name, each.protocol): each for each in interfaces}
    keys = [sa for sa in sas if (sa.interface, sa.protocol) in named]
    sending = _sending(keys)
    required = {each.protocol for each in named.values() if each.mode is Mode.REQUIRED}
    policies: dict[object, Policy] = {}
    for mode in _STRICTEST_FIRST:
        for interface in named.values():
            if interface.mode is not mode:
                continue
            ours = sending.get((interface.name, interface.protocol), {})
            for policy in (*_outbound(interface, ours), *_inbound(interface, interface.protocol in required)):
                # Two interfaces can share a selector (unnumbered links): the stricter policy stays.
                policies.setdefault(policy.identity, policy)
    associations: dict[object, SecurityAssociation] = {}
    for key in keys:
        if key.outbound and named[key.interface, key.protocol].mode is Mode.CLEAR:
            continue
        association = _association(key, now)
        if associations.setdefault(association.identity, association) != association:
            raise ValueError(f"two keys for {association}")
    return Wanted(
        policies=tuple(sorted(policies.values(), key=lambda p: (p.priority, str(p)))),
        associations=tuple(sorted(associations.values(), key=str)),
        guards=_guards(named.values()),
    )


_Sending = dict[IPAddress, GroupSa]


def _sending(keys: Iterable[GroupSa]) -> dict[tuple[str, RoutingProtocol], _Sending]:
    """By interface and protocol, the key to send with to each destination."""
    chosen: dict[tuple[str, RoutingProtocol], _Sending] = {}
    for key in keys:
        if key.outbound and key.active:
            ours = chosen.setdefault((key.interface, key.protocol), {})
            other = ours.get(key.destination)
            if other is None or other.generation < key.generation:
                ours[key.destination] = key
    return chosen


# -- outbound -----------------------------------------------------------------------------------


def _outbound(interface: ProtectedInterface, sending: _Sending) -> Iterable[Policy]:
    if not interface.mode.protects:
        return
    protocol = interface.protocol
    for group in protocol.reserved_groups:
        yield _send(interface, host_network(group), 0, sending.get(group))
    for destination, key in sending.items():
        if not destination.is_multicast:
            for number in (RAW_PROTOCOL, protocol.ip_protocol):
                yield _send(interface, host_network(destination), number, key)
    if interface.mode is Mode.REQUIRED and protocol.ip_protocol == 89:
        # Unicast OSPF without a pair SA. 255 only on the link: pimd's Registers are 255 too.
        for network, number in ((interface.subnet, RAW_PROTOCOL), (protocol.any_source, 89)):
            yield Policy(
                Selector(protocol.any_source, network, number, interface.name),
                Direction.OUT,
                _PRIORITY_OUT_REST,
                Action.BLOCK,
            )


def _send(interface: ProtectedInterface, destination: IPNetwork, number: int, key: GroupSa | None) -> Policy:
    """Protect with this key; without one, drop (`required`) or pass (`permissive`)."""
    selector = Selector(interface.protocol.any_source, destination, number, interface.name)
    required = interface.mode is Mode.REQUIRED
    if key is None:
        action = Action.BLOCK if required else Action.ALLOW
        return Policy(selector, Direction.OUT, _PRIORITY_OUT, action)
    template = Template(reqid=OWN_REQID, spi=key.spi, optional=not required)
    return Policy(selector, Direction.OUT, _PRIORITY_OUT, templates=(template,))


# -- inbound ------------------------------------------------------------------------------------


def _inbound(interface: ProtectedInterface, strict: bool) -> Iterable[Policy]:
    """`strict`: the protocol is `required` somewhere, so everything that is not accepted is dropped."""
    if interface.mode is Mode.CLEAR and not strict:
        return
    protocol = interface.protocol
    number = protocol.ip_protocol
    any_source = protocol.any_source
    groups = [host_network(group) for group in protocol.reserved_groups]
    if protocol.family == socket.AF_INET6:
        selectors = [Selector(any_source, group, number, interface.name) for group in groups]
        if number == 89:
            selectors.append(Selector(any_source, host_network(interface.local), number))
    elif number == 89:
        selectors = [Selector(interface.subnet, any_source, number)]
    else:
        selectors = [Selector(interface.subnet, group, number) for group in groups]
    for selector in selectors:
        priority = _PRIORITY_IN + selector.source.max_prefixlen - selector.source.prefixlen
        yield Policy(selector, Direction.IN, priority, templates=_heard(interface.mode))
    if strict:
        # Only neighbours send OSPF. Unicast PIM also comes from afar (Register).
        for destination in [any_source] if number == 89 else groups:
            selector = Selector(any_source, destination, number)
            yield Policy(selector, Direction.IN, _PRIORITY_IN_REST, Action.BLOCK)


def _heard(mode: Mode) -> tuple[Template, ...]:
    if mode is Mode.CLEAR:
        return ()
    return (Template(reqid=OWN_REQID, optional=mode is not Mode.REQUIRED),)


def _guards(interfaces: Iterable[ProtectedInterface]) -> tuple[Guard, ...]:
    """The interfaces where cleartext must be dropped at the device itself (see `Guard`)."""
    return tuple(
        sorted(
            (
                Guard(each.name, each.protocol.family, each.protocol.ip_protocol)
                for each in interfaces
                if each.mode is Mode.REQUIRED
            ),
            key=lambda guard: (guard.interface, guard.family, guard.protocol),
        )
    )


# -- security associations ------------------------------------------------------------------------


def lifetime(until: float, now: float) -> Lifetime:
    """The hard lifetime with which the kernel itself ends an SA that is planned until then."""
    return UNLIMITED if until == math.inf else Lifetime(hard_add_s=max(0, math.ceil(until - now)) + GRACE_S)


def _association(key: GroupSa, now: float) -> SecurityAssociation:
    # The inbound selector binds the source. For a pair SA it leaves the protocol open: the kernel looks up pimd's
    # unicast packets as 255 like ospfd's, and they use the same SA. So does the outbound selector, which is compared
    # with 255.
    exact = not key.outbound and key.destination.is_multicast
    selector = Selector(
        host_network(key.speaker),
        host_network(key.destination),
        key.protocol.ip_protocol if exact else 0,
    )
    encryption, integrity, aead = algorithms(key.suite, key.keymat)
    return SecurityAssociation(
        source=key.speaker,
        destination=key.destination,
        spi=key.spi,
        reqid=OWN_REQID,
        encryption=encryption,
        integrity=integrity,
        aead=aead,
        selector=selector,
        replay_window=0 if key.outbound else REPLAY_WINDOW,
        sequence=key.replay_floor,
        direction=SaDirection.OUT if key.outbound else SaDirection.IN,
        lifetime=lifetime(key.until, now),
    )


def algorithms(suite: Suite, keymat: bytes) -> tuple[Algorithm | None, Algorithm | None, Algorithm | None]:
    """Cipher, integrity and combined algorithm of an SA, by their kernel names."""
    parameters = suite.parameters
    if parameters.kernel_integ is None:
        # RFC 4106 §8.1: the salt follows the key, and the kernel takes both as one.
        return None, None, Algorithm(parameters.kernel_encr, keymat, parameters.integ_trunc_bits)
    cut = parameters.encr_key_bits // 8
    return (
        Algorithm(parameters.kernel_encr, keymat[:cut]),
        Algorithm(parameters.kernel_integ, keymat[cut:], parameters.integ_trunc_bits),
        None,
    )
