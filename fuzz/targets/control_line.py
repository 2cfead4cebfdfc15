"""A line that a client writes to the control socket of an LKS."""

from __future__ import annotations

from collections.abc import Iterator

from agents.runtime.control import CommandRefused, _words
from fuzz.harness import Target, promise
from fuzz.samples import network_samples


def run(data: bytes) -> object:
    words = _words(data)
    promise(all(isinstance(word, str) for word in words), "a command of other things than words")
    if words[:1] == ["rekey"] and len(words) == 1:
        return words  # the good case changes the sample
    return network_samples().lks("a").command(words, 2.0)


def seeds() -> Iterator[bytes]:
    for words in ("status", "events", "rekey", "rekey nowhere", ""):
        yield b'{"command": "%s"}\n' % words.encode()


TARGET = Target(run, (ValueError, CommandRefused), seeds, text=True)
