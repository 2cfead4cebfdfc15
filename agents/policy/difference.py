"""The differences between two domains, in sentences that an administrator reads before a commit."""

from __future__ import annotations

from collections.abc import Iterator

from agents.policy.document import Lease, Lifetimes, Modes, ProtocolIssuer, Reconnect
from agents.policy.domain import Domain, Own, RouterEntry, Settings, field_word
from agents.policy.durations import spell


def difference(before: Domain | None, after: Domain) -> list[str]:
    """One line for each change, "+", "-" or "~" in front; empty when nothing changed."""
    old = before or Domain(name=after.name, dks=after.dks)
    return [
        *_routers(old, after),
        *_adjacencies(old, after),
        *_groups(old, after),
        *_points(old, after),
        *_administrators(old, after),
        *_revoked(old, after),
        *_common(old, after),
    ]


def _routers(old: Domain, new: Domain) -> Iterator[str]:
    for name in sorted(old.routers.keys() | new.routers.keys()):
        was, now = old.routers.get(name), new.routers.get(name)
        if was is None and now is not None:
            yield f"+ router {name}" + ("" if now.approved else " (not approved)")
            yield from _interfaces(RouterEntry(name=name, key=now.key, approved=False, spi=now.spi), now)
            yield from _own(f"router {name}", Own(), now.own)
        elif now is None:
            yield f"- router {name}"
        elif was is not None and was != now:
            if was.key != now.key:
                yield f"~ router {name}: another key"
            if was.approved != now.approved:
                yield f"~ router {name}: {'approved' if now.approved else 'no longer approved'}"
            if was.sources != now.sources:
                yield f"~ router {name}: registers from {_text(was.sources)} -> {_text(now.sources)}"
            yield from _own(f"router {name}", was.own, now.own)
            yield from _interfaces(was, now)


def _interfaces(was: RouterEntry, now: RouterEntry) -> Iterator[str]:
    old = {each.name: each for each in was.interfaces}
    new = {each.name: each for each in now.interfaces}
    for name in sorted(old.keys() | new.keys()):
        at = f"{now.name}:{name}"
        if name not in old:
            yield f"+ interface {at} {new[name].address or new[name].address6} {shown_modes(new[name])}"
        elif name not in new:
            yield f"- interface {at}"
        else:
            for field in type(old[name]).model_fields:
                before, after = getattr(old[name], field), getattr(new[name], field)
                if before != after and field not in ("mode", "modes"):
                    yield f"~ interface {at}: {field} {_text(before)} -> {_text(after)}"
            if shown_modes(old[name]) != shown_modes(new[name]):
                yield f"~ interface {at}: mode {shown_modes(old[name])} -> {shown_modes(new[name])}"


def shown_modes(interface: Modes) -> str:
    """The mode of an interface in a word, or those of its protocols."""
    if interface.modes is None:
        return interface.mode.value
    return ", ".join(f"{protocol.value} {mode.value}" for protocol, mode in interface.by_protocol().items())


def _adjacencies(old: Domain, new: Domain) -> Iterator[str]:
    was = {each.router_interfaces: each for each in old.adjacencies}
    now = {each.router_interfaces: each for each in new.adjacencies}
    yield from sorted(f"+ adjacency {each}" for ends, each in now.items() if ends not in was)
    yield from sorted(f"- adjacency {each}" for ends, each in was.items() if ends not in now)


def _groups(old: Domain, new: Domain) -> Iterator[str]:
    was = {each.name: each for each in old.groups}
    now = {each.name: each for each in new.groups}
    for name in sorted(was.keys() | now.keys()):
        if name not in now:
            yield f"- group {name}"
            continue
        before, after = was.get(name), now[name]
        if before is None:
            yield f"+ group {name}: {', '.join(after.routers) or 'no routers'}"
        elif before.routers != after.routers:
            yield from (f"+ group {name}: {each}" for each in after.routers if each not in before.routers)
            yield from (f"- group {name}: {each}" for each in before.routers if each not in after.routers)
        yield from _own(f"group {name}", Own() if before is None else before.own, after.own)


def _own(whose: str, old: Own, new: Own) -> Iterator[str]:
    for field in Own.model_fields:
        before, after = getattr(old, field), getattr(new, field)
        if before != after:
            words = ("the domain's" if each is None else setting_text(field, each) for each in (before, after))
            yield f"~ {whose}: {field_word(field)} {' -> '.join(words)}"


def _points(old: Domain, new: Domain) -> Iterator[str]:
    was, now = ({(each.router, each.address) for each in domain.points} for domain in (old, new))
    yield from sorted(f"+ rendezvous point {router} {address}" for router, address in now - was)
    yield from sorted(f"- rendezvous point {router} {address}" for router, address in was - now)
    if old.points_mode is not new.points_mode:
        yield f"~ rendezvous points: mode {old.points_mode.value} -> {new.points_mode.value}"


def _revoked(old: Domain, new: Domain) -> Iterator[str]:
    for kind in ("routers", "administrators"):
        before = {each.key for each in getattr(old, f"revoked_{kind}")}
        for each in getattr(new, f"revoked_{kind}"):
            if each.key not in before:
                yield f"- key of {kind[:-1]} {each.name}, permanently ({each.key.hex()[:16]})"


def _administrators(old: Domain, new: Domain) -> Iterator[str]:
    was, now = ({each.name for each in domain.administrators} for domain in (old, new))
    yield from sorted(f"+ administrator {name}" for name in now - was)
    yield from sorted(f"- administrator {name}" for name in was - now)


def _common(old: Domain, new: Domain) -> Iterator[str]:
    if old.dks != new.dks:
        if old.dks.key != new.dks.key:
            yield "~ dks: another key"
        if (old.dks.addresses, old.dks.port) != (new.dks.addresses, new.dks.port):
            yield f"~ dks: {dks_text(old)} -> {dks_text(new)}"
    for field in Settings.model_fields:
        before, after = getattr(old.settings, field), getattr(new.settings, field)
        if before != after:
            yield f"~ setting {field_word(field)}: {setting_text(field, before)} -> {setting_text(field, after)}"


def dks_text(domain: Domain) -> str:
    """The DKS's addresses and port."""
    return f"{', '.join(map(str, domain.dks.addresses)) or 'no address'}, port {domain.dks.port}"


def setting_text(field: str, value: object) -> str:
    """A setting as text."""
    match value:
        case Lease():
            return f"{spell(value.seconds)}, then {value.at_end}"
        case Lifetimes():
            names = Lifetimes.model_fields
            return ", ".join(f"{field_word(name)} {spell(getattr(value, name))}" for name in names)
        case Reconnect():
            first = f"{spell(value.first_min_s)} to {spell(value.first_max_s)}"
            return f"first {first}, factor {value.factor:g}, max {spell(value.max_s)}, jitter {value.jitter:g}"
        case bool():
            return "on" if value else "off"
        case int() if field.endswith("_s"):
            return spell(value)
    return _text(value)


def _text(value: object) -> str:
    if isinstance(value, ProtocolIssuer):
        return f"{value.protocol.value} {value.issuer}"
    if isinstance(value, tuple):
        return ", ".join(_text(each) for each in value) or "none"
    if value is None:
        return "none"
    return str(getattr(value, "value", value))
