"""Reading a daemon's TOML file: known names, right kinds, one clear error. Knows no agent's settings."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from agents.runtime.storage import read_all

T = TypeVar("T")
_KINDS: dict[type, str] = {str: "a text in quotes", int: "a whole number", bool: "true or false"}


class ConfigError(Exception):
    """A configuration file that cannot be used; the text says where and why."""


class Table:
    """The top level of one file. Take every setting, then call `finish`."""

    def __init__(self, path: Path) -> None:
        """ConfigError when there is no such file, or it is no TOML."""
        self._path = path
        try:
            self._text = read_all(path).decode()
            self._values: dict[str, Any] = tomllib.loads(self._text)
            self._taken: list[str] = []
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: {error}") from error

    def text(self, name: str, default: str | None = None) -> str:
        """A string."""
        return self._take(name, str, default)

    def number(self, name: str, default: int, lowest: int, highest: int) -> int:
        """An integer within bounds."""
        value = self._take(name, int, default)
        if not lowest <= value <= highest:
            raise ConfigError(f"{self._at(name)}: {name} is {value}\n  allowed: {lowest} to {highest}")
        return value

    def flag(self, name: str) -> bool:
        """True or false; false when it is not given."""
        return self._take(name, bool, False)

    def path(self, name: str) -> Path:
        """A path that must be given; a relative one is taken from the file's own folder."""
        return self._path.parent / self._take(name, str, None)

    def optional_path(self, name: str) -> Path | None:
        """A path, or None when it is not given."""
        value = self._take(name, str, "")
        return self._path.parent / value if value else None

    def finish(self) -> None:
        """ConfigError when the file holds a name that nobody took."""
        for name in sorted(self._values):
            raise ConfigError(
                f"{self._at(name)}: unknown setting {name!r}\n  allowed: {', '.join(sorted(self._taken))}"
            )

    def _take(self, name: str, kind: type[T], default: T | None) -> T:
        self._taken.append(name)
        value = self._values.pop(name, default)
        if value is None:
            near = difflib.get_close_matches(name, self._values, 1)
            meant = f"; was {near[0]!r} meant for it ({self._at(near[0])})?" if near else ""
            raise ConfigError(f"{self._path}: the setting {name!r} is missing{meant}")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ConfigError(f"{self._at(name)}: {name} is {value!r}\n  allowed: {_KINDS[kind]}")
        return value

    def _at(self, name: str) -> str:
        """The file, and the line on which the name stands if it can be seen there."""
        found = re.search(rf"^[ \t]*[\"']?{re.escape(name)}[\"']?[ \t]*=", self._text, re.MULTILINE)
        return f"{self._path}:{self._text.count(chr(10), 0, found.start()) + 1}" if found else str(self._path)
