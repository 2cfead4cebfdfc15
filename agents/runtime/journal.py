"""A daemon's lines on standard error, for the journal of a service manager: one line an event, by level.

A reader that does not read blocks nothing: lines that cannot be written at once are counted, and the count is written
later. Knows only the level of an event, not its meaning.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import select
import stat
import time
from collections.abc import Mapping
from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import Any

from agents.runtime.effects import Event


class Level(IntEnum):
    """The numbers are syslog's severities (RFC 5424, section 6.2.1)."""

    ERROR = 3
    WARNING = 4
    INFO = 6
    DEBUG = 7


class LogLevel(StrEnum):
    """The levels as a command line has them."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    DEBUG = "debug"


class LogFormat(StrEnum):
    """The format of a line."""

    TEXT = "text"
    JSON = "json"


_ERRORS = frozenset({"closed", "error", "fault"})
_WARNINGS = frozenset({"behind", "dropped", "excluded", "lost", "mended", "no_routers"})
_DETAILS = frozenset(
    {"installed", "issued", "member", "paced", "put_off", "registered", "rekey_message", "reported", "request", "sa"}
)
"""Kinds with one event for each datagram, key or request: too many for a journal that a person reads."""
_BARE = re.compile(r"[A-Za-z0-9_.:/@%+,-]+")
_LONGEST = 1024
"""The most octets of a value: a peer chooses some values."""


def level_of(event: Event) -> Level:
    """How important an event is to the operator of the router."""
    if event.kind in _ERRORS:
        return Level.ERROR
    if event.kind in _WARNINGS:
        return Level.WARNING
    strangers = event.kind == "ike" and event.fields.get("peer") is None  # no peer was authenticated
    return Level.DEBUG if strangers or event.kind in _DETAILS else Level.INFO


@lru_cache(maxsize=1)
def _moment(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


class Journal:
    """Lines on a descriptor, by default standard error. Writes nothing below `level`."""

    def __init__(self, program: str, level: Level, as_json: bool = False, descriptor: int = 2) -> None:
        self._program, self._level, self._json, self._descriptor = program, level, as_json, descriptor
        self._to_journald = _is_journald(descriptor)
        self._writable = select.poll()
        self._writable.register(descriptor, select.POLLOUT)
        self._lost = 0

    def shows(self, event: Event) -> bool:
        """True if this event is written."""
        return level_of(event) <= self._level

    def write(self, event: Event, level: Level | None = None) -> None:
        """Write an event if its level is high enough: the level of its kind, or the given one."""
        level = level_of(event) if level is None else level
        if level > self._level:
            return
        lost = self._lost
        if lost and self._put(Event("lost", {"events": lost}), Level.WARNING):
            self._lost -= lost
        if not self._put(event, level):
            self._lost += 1

    def _put(self, event: Event, level: Level) -> bool:
        """True if it could be written without waiting."""
        line = (self._as_json if self._json else self._as_text)(event, level).encode() + b"\n"
        try:
            ready = self._writable.poll(0)
            return bool(ready) and bool(ready[0][1] & select.POLLOUT) and os.write(self._descriptor, line) == len(line)
        except OSError:
            return False

    def _as_text(self, event: Event, level: Level) -> str:
        words = [event.kind, *(f"{name}={_quoted(value)}" for name, value in event.fields.items())]
        if self._to_journald:  # which has the time and the program already, and takes the level from the number
            return f"<{level.value}>{' '.join(words)}"
        return " ".join([_moment(int(time.time())), self._program, level.name.lower(), *words])

    def _as_json(self, event: Event, level: Level) -> str:
        head = {
            "time": _moment(int(time.time())),
            "program": self._program,
            "level": level.name.lower(),
            "kind": event.kind,
        }
        return json.dumps({**head, **{name: _short(value) for name, value in event.fields.items()}})


class Handler(logging.Handler):
    """Passes log records of libraries, and of programs that use logging, to a journal."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record. The traceback of an exception is in the field `trace`."""
        fields = {"from": record.name, "message": record.getMessage()}
        if record.exc_info is not None:
            fields["trace"] = self._formatter.formatException(record.exc_info)
        level = next((each for least, each in _LEVELS if record.levelno >= least), Level.DEBUG)
        self._journal.write(Event("log", fields), level)

    _formatter = logging.Formatter()


_LEVELS = ((logging.ERROR, Level.ERROR), (logging.WARNING, Level.WARNING), (logging.INFO, Level.INFO))


def _is_journald(descriptor: int) -> bool:
    """True if systemd's journal reads it: $JOURNAL_STREAM is DEVICE:INODE (systemd.exec(5))."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return stat.S_ISSOCK(status.st_mode) and os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _short(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _quoted(value: Any) -> str:
    """A value on one line, of printable characters only: a peer may have chosen it."""
    short = _short(value)
    if short is None:
        return "-"
    if isinstance(short, bool):
        return "yes" if short else "no"
    text = str(short)
    return text if _BARE.fullmatch(text) else json.dumps(text)


def add_options(parser: argparse.ArgumentParser) -> None:
    """--log-level, -v and --log-format."""
    parser.add_argument(
        "--log-level", choices=[*LogLevel], help="the least level of lines on standard error (default: info)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="the same as --log-level debug")
    parser.add_argument(
        "--log-format", choices=[*LogFormat], help="one line for each event, as text (default) or as JSON"
    )


def options(arguments: argparse.Namespace) -> list[str]:
    """The given options, for a process of our own."""
    given: Mapping[str, str | None] = {"--log-level": arguments.log_level, "--log-format": arguments.log_format}
    words = [word for name, value in given.items() if value is not None for word in (name, value)]
    return [*words, *(["--verbose"] if arguments.verbose else [])]


def from_options(program: str, arguments: argparse.Namespace) -> Journal:
    """The journal that the command line asks for."""
    return asked(program, arguments.log_level or LogLevel.INFO, arguments.verbose, arguments.log_format)


def asked(program: str, level: str, verbose: bool, form: str | None) -> Journal:
    """The journal of these options."""
    return Journal(program, Level["DEBUG" if verbose else level.upper()], form == LogFormat.JSON)
