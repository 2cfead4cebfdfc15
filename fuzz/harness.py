"""What a target is, and what must hold of every input: only declared errors, under a second, under 100 MB.

Knows nothing of what any target reads.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
CORPUS = FOLDER / "corpus"
MAX_SECONDS = 1.0
MAX_MEGABYTES = 100
MAX_INPUT = 1 << 16
"""Octets: what fits in a datagram. Nothing that we read is longer, but files of an administrator."""


class Finding(AssertionError):
    """An input that broke a bound: an exception that is not declared, too much time or memory, or a broken promise."""


@dataclass(frozen=True)
class Target:
    """`run` does with an input what the product does. `errors` are what it may raise; `seeds` are good inputs."""

    run: Callable[[bytes], object]
    errors: tuple[type[Exception], ...] = ()
    seeds: Callable[[], Iterator[bytes]] = lambda: iter(())
    text: bool = False
    """Inputs are text: mutation also puts in words of it."""


def names() -> list[str]:
    """All targets: the files in fuzz/targets."""
    return sorted(file.stem for file in (FOLDER / "targets").glob("*.py") if file.stem != "__init__")


def load(name: str) -> Target:
    """The target of this name. ModuleNotFoundError."""
    target = import_module(f"fuzz.targets.{name}").TARGET
    assert isinstance(target, Target)
    return target


def corpus(name: str) -> Iterator[tuple[str, bytes]]:
    """The kept inputs of a target, by file name. `*.hex` is hexadecimal, white space and #-comments left out."""
    folder = CORPUS / name
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        data = file.read_bytes()
        if file.suffix == ".hex":
            lines = data.decode("ascii").splitlines()
            data = bytes.fromhex("".join("".join(line.split("#")[0].split()) for line in lines))
        yield file.name, data


def execute(target: Target, data: bytes) -> str:
    """Run an input; in a word what came of it, by which new behaviour is told from old. Finding when a bound is broken.

    The peak of the process's memory is compared: it only ever grows, so an input is charged with what it adds.
    """
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.thread_time()
    try:
        outcome = target.run(data)
        result = f"ok {outcome!r}"[:80] if isinstance(outcome, tuple) else f"ok {type(outcome).__name__}"
    except Finding:
        raise
    except target.errors as error:
        result = f"{type(error).__name__} {''.join(char for char in str(error) if not char.isdigit())[:80]}"
    except Exception as error:
        raise Finding(f"{type(error).__name__}: {error}") from error
    spent = time.thread_time() - started
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    if spent > MAX_SECONDS:
        raise Finding(f"took {spent:.1f} s of processor time for {len(data)} octets")
    if grown > MAX_MEGABYTES:
        raise Finding(f"took {grown:.0f} MB for {len(data)} octets")
    return result


def promise(holds: bool, what: str) -> None:
    """Finding unless this holds."""
    if not holds:
        raise Finding(what)
