"""The key file that `--ike-log` writes, read back: the keys of each SA's messages.

Lines of Wireshark's `ikev2_decryption_table`, and comments of ours with the key-wrap keys. Knows nothing of messages.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from agents.ikev2.errors import UnsupportedAlgorithm
from agents.ikev2.keylog import KeyWrapEntry, TableEntry, parse_line

MAX_LINE = 1024


class KeyFileError(Exception):
    """A line of another form; `line` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line, self.problem = line, problem


class KeyFile:
    """Keys by the 16 octets of an SA's SPIs. An SA with an additional key exchange has two sets, the newer last."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        """KeyFileError."""
        self._tables: dict[bytes, list[TableEntry]] = {}
        self._wraps: dict[bytes, list[bytes]] = {}
        for number, line in enumerate(lines, 1):
            self.add(number, line)

    def add(self, number: int, line: str) -> None:
        """Add one line. KeyFileError; then nothing has changed."""
        try:
            if len(line) > MAX_LINE:
                raise ValueError("too long")
            entry = parse_line(line.strip())
            if isinstance(entry, TableEntry):
                for side in (True, False):
                    entry.protection(side)  # keys of a wrong length are an error of the file, not of a message
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeyFileError(number, str(error)) from error
        if isinstance(entry, TableEntry):
            self._tables.setdefault(entry.spi_i + entry.spi_r, []).append(entry)
        elif isinstance(entry, KeyWrapEntry):
            self._wraps.setdefault(entry.spi_i + entry.spi_r, []).append(entry.key)

    @classmethod
    def read(cls, path: Path) -> KeyFile:
        """KeyFileError; OSError."""
        try:
            return cls(path.read_text(encoding="ascii").splitlines())
        except UnicodeDecodeError as error:
            raise KeyFileError(1, "not a text file of ASCII") from error

    def tables(self, spis: bytes) -> list[TableEntry]:
        """The keys of one SA, the newest first."""
        return self._tables.get(spis, [])[::-1]

    def key_wrap_keys(self, spis: bytes) -> list[bytes]:
        """GSK_w of one SA, the newest first."""
        return self._wraps.get(spis, [])[::-1]

    def __len__(self) -> int:
        return len(self._tables)
