"""XML that strangers wrote, as a tree that knows its lines. Entities are refused: they can grow without bound.

Knows no vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

from testbed.errors import InputError, Location

MAX_ELEMENTS = 500_000
MAX_DEPTH = 50


@dataclass
class Element:
    """An element: its name without a namespace, what is in it, and the line it begins on."""

    name: str
    attributes: dict[str, str]
    line: int
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, *path: str) -> Iterator[Element]:
        """The elements at the end of a path of names."""
        for child in self.children:
            if child.name == path[0]:
                if len(path) == 1:
                    yield child
                else:
                    yield from child.all(*path[1:])

    def first(self, *path: str) -> Element | None:
        """The first of them."""
        return next(self.all(*path), None)


def parsed(raw: bytes, file: Path) -> Element:
    """The root. Raises InputError with the line for what is not well-formed, declares entities or is too much."""
    root = Element("", {}, 1)
    open_: list[Element] = [root]
    count = 0
    parser = _parser(file)

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        line = parser.CurrentLineNumber
        if count > MAX_ELEMENTS or len(open_) > MAX_DEPTH:
            allowed = f"{MAX_ELEMENTS} elements, {MAX_DEPTH} in each other"
            raise InputError("too large", where=Location(file, line), allowed=allowed)
        element = Element(name.rpartition(" ")[2], attributes, line)
        open_[-1].children.append(element)
        open_.append(element)

    def text(words: str) -> None:
        open_[-1].text += words

    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _name: open_.pop()
    parser.CharacterDataHandler = text
    _parse(parser, raw, file)
    return root.children[0]


def refuse_entities(raw: bytes, file: Path) -> None:
    """As `parsed`, for those who parse by themselves."""
    _parse(_parser(file), raw, file)


def _parser(file: Path) -> Any:
    parser = expat.ParserCreate(namespace_separator=" ")

    def entity(name: str, *_: Any) -> None:
        where = Location(file, parser.CurrentLineNumber)
        raise InputError(f"declares the entity {name!r}", where=where, allowed="XML without its own entities")

    parser.EntityDeclHandler = entity
    return parser


def _parse(parser: Any, raw: bytes, file: Path) -> None:
    try:
        parser.Parse(raw, True)
    except expat.ExpatError as error:
        where = Location(file, error.lineno, error.offset + 1)
        raise InputError(f"not XML: {expat.errors.messages[error.code]}", where=where, allowed="XML") from error
    except (ValueError, LookupError) as error:  # an encoding that nobody knows
        raise InputError(f"not XML: {error}", where=str(file), allowed="XML in UTF-8") from error
