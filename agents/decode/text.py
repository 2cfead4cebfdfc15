"""A decoded message as lines of text. Knows the shape of the fields and not their meaning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agents.decode.messages import Message, Protection, flags
from agents.decode.names import name
from agents.ikev2.registry import ExchangeType

MAX_OCTETS_SHOWN = 32
_HEX = frozenset("0123456789abcdef")


def lines(message: Message, source: str, destination: str, time_s: float) -> Iterator[str]:
    """A headline, then the payload tree."""
    route = f"{time_s:.6f} {source} → {destination}"
    header = message.header
    if header is None:
        yield f"{route}  not IKE: {message.problem} ({message.octets} octets)"
        return
    kind = "response" if header.is_response else "request"
    words = [f"{name(ExchangeType, header.exchange)} {kind}", f"Message ID {header.message_id}"]
    words.append(f"flags {'|'.join(flags(header)) or 'none'}")
    words.append(f"SPIs {header.spi_i.hex()} {header.spi_r.hex()}")
    words.append(f"{message.octets} octets")
    if message.fragment is not None:
        words.append(f"fragment {message.fragment[0]} of {message.fragment[1]}")
    if message.retransmitted:
        words.append("repeated")
    if message.protection is not Protection.CLEAR:
        words.append(message.protection.value)
    yield f"{route}  {', '.join(words)}"
    for payload in message.payloads:
        yield from _payload(payload)
    if message.problem is not None:
        yield f"    malformed: {message.problem}"


def _payload(fields: dict[str, Any]) -> Iterator[str]:
    rest = {key: value for key, value in fields.items() if key not in ("payload", "type", "number")}
    title = f"{fields['payload']} ({fields['type']})"
    if "notification" in rest:
        title += f" {rest.pop('notification')} ({fields['number']})"
    flat = {key: value for key, value in rest.items() if not isinstance(value, dict | list)}
    deep = {key: value for key, value in rest.items() if key not in flat}
    inline = ", ".join(f"{key} {_scalar(value)}" for key, value in flat.items())
    yield f"    {title}{': ' if inline else ''}{inline}"
    yield from _tree(deep, 8)


def _tree(value: dict[str, Any], indent: int) -> Iterator[str]:
    space = " " * indent
    for key, item in value.items():
        if isinstance(item, dict):
            yield f"{space}{key}"
            yield from _tree(item, indent + 4)
        elif isinstance(item, list) and any(isinstance(each, dict | list) for each in item):
            for number, each in enumerate(item, 1):
                yield f"{space}{key} {number}"
                yield from _tree(each if isinstance(each, dict) else {"value": each}, indent + 4)
        elif isinstance(item, list):
            yield f"{space}{key} {', '.join(_scalar(each) for each in item) or 'none'}"
        else:
            yield f"{space}{key} {_scalar(item)}"


def _scalar(value: object) -> str:
    text = str(value)
    if isinstance(value, str) and len(text) > 2 * MAX_OCTETS_SHOWN and _HEX.issuperset(text):
        return f"{text[: 2 * MAX_OCTETS_SHOWN]}… ({len(text) // 2} octets)"
    return text
