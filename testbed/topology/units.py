"""The values of a topology file as people write them: delays, shares, rates, times, whole numbers, addresses.

Each type says what is allowed in words of its own, which `read` shows beside the bad value. Knows no keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from testbed.owned import NAME_PATTERN

ALLOWED = "allowed: "
MAX_NAME = 63
DOMAIN_PATTERN = r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"
MIN_MTU = 1280
"""The least that an interface with IPv6 may have (RFC 8200 §5), which also carries IKE's largest datagram whole."""
MAX_MTU = 65535
"""What the MTU field of OSPF's Database Description packets can hold (RFC 2328 §A.3.3)."""
_MTU_ALLOWED = (
    f"whole octets from {MIN_MTU} (the least of IPv6; IKE's datagrams need it too) to {MAX_MTU}, such as 1400"
)
AREA_TYPES = ("normal", "stub", "totally-stubby", "nssa", "totally-nssa")
INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")
NUMBER = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-zµ%]*(?:/[sS])?)\s*")


def not_allowed(allowed: str) -> ValueError:
    """The error of a value that is not allowed, for who explains it with its place."""
    return ValueError(f"{ALLOWED}{allowed}")


def _quantity(units: Mapping[str, float], allowed: str, fits: Callable[[float], bool]) -> BeforeValidator:
    """A number with a unit (letter case does not matter), or a bare number of the unit that counts 1."""

    def convert(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise not_allowed(allowed)
        match = NUMBER.fullmatch(str(value))
        unit = match[2].lower() if match else ""
        if match is None or (unit and unit not in units):
            raise not_allowed(allowed)
        number = float(match[1]) * (units[unit] if unit else 1.0)
        if not fits(number):
            raise not_allowed(allowed)
        return number

    return BeforeValidator(convert)


def _whole(least: int, most: int, allowed: str) -> BeforeValidator:
    """A whole number, not its text and not a truth value."""

    def convert(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise not_allowed(allowed)
        return value

    return BeforeValidator(convert)


def _address(kind: type, allowed: str, fits: Callable[[Any], bool]) -> BeforeValidator:
    """An IPv4 address or network as text."""

    def convert(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        if not isinstance(value, str):
            raise not_allowed(allowed)
        try:
            address = kind(value.strip())
        except ValueError:
            raise not_allowed(allowed) from None
        if not fits(address):
            raise not_allowed(allowed)
        return address

    return BeforeValidator(convert)


def _unicast(address: IPv4Address | IPv4Interface | IPv4Network) -> bool:
    """Whether a router can have it on an interface."""
    return not (
        address.is_multicast or address.is_loopback or address.is_unspecified or address.is_link_local
    ) and not (
        IPv4Network("0.0.0.0/8").overlaps(_network(address)) or IPv4Network("224.0.0.0/3").overlaps(_network(address))
    )


def _network(address: IPv4Address | IPv4Interface | IPv4Network) -> IPv4Network:
    if isinstance(address, IPv4Network):
        return address
    return address.network if isinstance(address, IPv4Interface) else IPv4Network(address)


def _area(value: Any) -> int:
    allowed = "an area's number, as 1 or as 0.0.0.1; 0 is the backbone"
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+){3}", value):
        try:
            return int(IPv4Address(value))
        except ValueError:
            raise not_allowed(allowed) from None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 0xFFFFFFFF:
        raise not_allowed(allowed)
    return value


def _octets(value: Any) -> int:
    unit = (
        value.lower().removesuffix("octets").removesuffix("bytes").removesuffix("b")
        if isinstance(value, str)
        else value
    )
    number = int(unit) if isinstance(unit, str) and unit.strip().isdecimal() else unit
    if isinstance(number, bool) or not isinstance(number, int) or not MIN_MTU <= number <= MAX_MTU:
        raise not_allowed(_MTU_ALLOWED)
    return number


def _priority(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 255:
        raise not_allowed("a whole number from 0 (never designated) to 255")
    return value


def _for_each_end(convert: Callable[[Any], int], what: str) -> BeforeValidator:
    """One value for both ends, or a list of one for each."""

    def both(value: Any) -> list[int]:
        values = value if isinstance(value, list | tuple) else [value, value]
        if len(values) != 2:
            raise not_allowed(f"one {what} for both ends, or a list of two in the order of `between`")
        return [convert(each) for each in values]

    return BeforeValidator(both)


def _for_some(convert: Callable[[Any], int]) -> BeforeValidator:
    """One value for all, or a mapping of routers to theirs."""

    def each(value: Any) -> int | dict[Any, int]:
        if isinstance(value, dict):
            return {name: convert(entry) for name, entry in value.items()}
        return convert(value)

    return BeforeValidator(each)


def _passive(value: Any) -> bool | list[str]:
    if isinstance(value, bool):
        return value
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise not_allowed("true for all ends, or a list of the routers whose end is passive")
    return names


def _area_type(value: Any) -> str:
    word = re.sub(r"[ _]+", "-", value.strip().lower()) if isinstance(value, str) else ""
    if word not in AREA_TYPES:
        raise not_allowed(", ".join(AREA_TYPES))
    return word


INTERFACE_ALLOWED = (
    "an interface's name: 1 to 15 letters, digits, '.', '_' and '-', such as eth1; not lo, mgmt or receivers"
)


def is_interface(value: Any) -> bool:
    """Whether an interface can be called so."""
    taken = ("lo", "all", "default", "mgmt", "receivers")
    return isinstance(value, str) and INTERFACE.fullmatch(value) is not None and value not in taken


def _interface(value: Any) -> str:
    if not is_interface(value):
        raise not_allowed(INTERFACE_ALLOWED)
    return str(value)


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise not_allowed("true or false")
    return value


def _degrees(most: float) -> BeforeValidator:
    def convert(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not -most <= value <= most:
            raise not_allowed("latitude from -90 to 90, then longitude from -180 to 180")
        return float(value)

    return BeforeValidator(convert)


def _number_or_text(example: str, *units: str) -> WithJsonSchema:
    """JSON Schema's patterns have no flag for letter case."""
    words = "|".join("".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() and c != "µ" else c for c in u) for u in units)
    text = {"type": "string", "pattern": rf"^\s*(\d+(\.\d*)?|\.\d+)\s*({words})?\s*$"}
    return WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, text], "examples": [example]})


def _integer(least: int, most: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "integer", "minimum": least, "maximum": most})


def _number(least: float, most: float) -> WithJsonSchema:
    return WithJsonSchema({"type": "number", "minimum": least, "maximum": most})


def _text(example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "examples": [example]})


DELAYS = {"ms": 1.0, "us": 0.001, "µs": 0.001, "s": 1000.0}
RATES = {
    **dict.fromkeys(("mbps", "mbit", "mbit/s", "m"), 1.0),
    **dict.fromkeys(("kbps", "kbit", "kbit/s", "k"), 0.001),
    **dict.fromkeys(("gbps", "gbit", "gbit/s", "g"), 1000.0),
}
TIMES = {"s": 1.0, "min": 60.0}
Delay = Annotated[
    float,
    _quantity(DELAYS, "a delay up to 10s, such as 5ms, 200us or 0.1s (a bare number is ms)", lambda ms: ms <= 10_000),
    _number_or_text("5ms", *DELAYS),
]
Loss = Annotated[
    float,
    _quantity({"%": 1.0}, "a share of packets from 0% to 100%, such as 1%", lambda percent: percent <= 100),
    _number_or_text("1%", "%"),
]
Bandwidth = Annotated[
    float,
    _quantity(
        RATES,
        "a rate from 1kbps to 100Gbps, such as 100Mbps or 64kbit/s (a bare number is Mbit/s)",
        lambda mbps: 0.001 <= mbps <= 100_000,
    ),
    _number_or_text("100Mbps", *RATES),
]
Seconds = Annotated[
    float,
    _quantity(
        TIMES,
        "whole seconds from 1 to 65535, such as 10s or 1min",
        lambda seconds: seconds == int(seconds) and 1 <= seconds <= 65535,
    ),
    _number_or_text("10s", *TIMES),
]
_MTU: dict[str, Any] = {
    "anyOf": [
        {"type": "integer", "minimum": MIN_MTU, "maximum": MAX_MTU},
        {"type": "string", "pattern": r"^\s*\d+\s*([bB]|[bB]ytes|[oO]ctets)?\s*$"},
    ]
}
_PRIORITY: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": 255}
Mtu = Annotated[int, BeforeValidator(_octets), WithJsonSchema(_MTU)]
EndMtus = Annotated[
    list[int],
    _for_each_end(_octets, "MTU"),
    WithJsonSchema({"anyOf": [*_MTU["anyOf"], {"type": "array", "items": _MTU, "minItems": 2, "maxItems": 2}]}),
]
RouterMtus = Annotated[
    int | dict[str, int],
    _for_some(_octets),
    WithJsonSchema({"anyOf": [*_MTU["anyOf"], {"type": "object", "additionalProperties": _MTU}]}),
]
Priorities = Annotated[
    int | dict[str, int],
    _for_some(_priority),
    WithJsonSchema({"anyOf": [_PRIORITY, {"type": "object", "additionalProperties": _PRIORITY}]}),
]
Passive = Annotated[
    bool | list[str],
    BeforeValidator(_passive),
    WithJsonSchema(
        {"anyOf": [{"type": "boolean"}, {"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    ),
]
InterfaceName = Annotated[
    str, BeforeValidator(_interface), WithJsonSchema({"type": "string", "pattern": f"^{INTERFACE.pattern}$"})
]
AreaType = Annotated[str, BeforeValidator(_area_type), WithJsonSchema({"enum": list(AREA_TYPES)})]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Domain = Annotated[str, Field(pattern=DOMAIN_PATTERN)]
Cost = Annotated[int, _whole(1, 65535, "a whole number from 1 to 65535"), _integer(1, 65535)]
Version = Annotated[int, _whole(2, 3, "2 (IPv4) or 3 (IPv6)"), _integer(2, 3)]
_DOTTED = {"type": "string", "pattern": r"^\d+(\.\d+){3}$"}
Area = Annotated[
    int,
    BeforeValidator(_area),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0, "maximum": 0xFFFFFFFF}, _DOTTED]}),
]
Switch = Annotated[bool, BeforeValidator(_switch), WithJsonSchema({"type": "boolean"})]
Latitude = Annotated[float, _degrees(90), _number(-90, 90)]
Longitude = Annotated[float, _degrees(180), _number(-180, 180)]
Address = Annotated[
    IPv4Address, _address(IPv4Address, "a router's address such as 10.1.0.1", _unicast), _text("10.1.0.1")
]
Loopback = Annotated[
    IPv4Interface,
    _address(
        IPv4Interface,
        "one router's address such as 10.0.0.1 or 10.0.0.1/32",
        lambda address: address.network.prefixlen == 32 and _unicast(address),
    ),
    _text("10.0.0.1"),
]
Network = Annotated[
    IPv4Network,
    _address(IPv4Network, "a unicast network without host bits, such as 10.1.0.0/30", _unicast),
    _text("10.1.0.0/30"),
]
