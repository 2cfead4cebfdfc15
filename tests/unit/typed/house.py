"""Runs the programs' command lines in this process, in a folder of their own, and lets nothing of them out of it.

One audit hook is the port: it refuses to start a process, to use the network, and to write outside the folder. A verb
that boots or sets up ends there as on a machine that cannot. What was refused is kept in `refused`.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

CODES = frozenset({0, 1, 2, 3, 130, 141})
_STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn")
_TALKS = ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo")
_CHANGES = (
    "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod", "os.chown",
    "shutil.rmtree", "os.utime",
)  # fmt: skip
_IN_A_FOLDER = ("os.remove", "os.rmdir", "os.unlink")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_root: Path | None = None
changed: set[str] = set()
"""What was written or removed inside."""
refused: list[str] = []
"""What was kept from leaving the folder: nothing of it may be a path."""


class Done(NamedTuple):
    """How a command line ended."""

    code: int
    out: str
    err: str


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _root is None:
        return
    if event in _STARTS or event in _TALKS:
        raise OSError(errno.EMFILE, f"a test starts nothing and asks nobody ({event})")
    if event == "open":
        path, _mode, flags = arguments
        if isinstance(flags, int) and flags & _WRITING and isinstance(path, str | bytes | os.PathLike):
            _inside(event, path)
    elif event in ("os.kill", "os.killpg"):
        refused.append(f"{event} {arguments}")
        raise OSError(errno.EMFILE, "a test ends nobody")
    elif event in _CHANGES:
        two = event in ("os.rename", "os.link")
        folders = [each for each in arguments[1:] if type(each) is int and each >= 0]
        for each in arguments[: 2 if two else 1]:
            if isinstance(each, str | bytes | os.PathLike):
                # A name with a folder's descriptor is of that folder, and not of the current one.
                known = event in _IN_A_FOLDER and folders
                _inside(event, Path(os.readlink(f"/proc/self/fd/{folders[-1]}")) / os.fsdecode(each) if known else each)


def _inside(event: str, path: Any) -> None:
    assert _root is not None
    text = os.path.abspath(os.fsdecode(path))
    written_into = event == "open" and text in ("/dev/null", "/dev/full")
    if written_into or text.startswith(f"{_root}{os.sep}") or text == str(_root):
        changed.add(text)
        return
    refused.append(f"{event} {text}")
    raise OSError(errno.EIO, "outside of the test's folder", text)


@contextmanager
def shut(root: Path) -> Iterator[None]:
    """Nothing within gets out of `root`."""
    global _root
    if not getattr(sys, "_typed_hook", False):
        sys._typed_hook = True  # type: ignore[attr-defined]
        sys.addaudithook(_hook)
    _root = root
    try:
        yield
    finally:
        _root = None


def typed(program: str, words: Sequence[str], stdin: bytes = b"") -> Done:
    """A command line, as `program` runs it. An exception that the program would show as a traceback is raised."""
    before = sys.argv, sys.stdin, sys.stdout, sys.stderr
    sys.argv = [program, *words]
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), errors="surrogateescape")
    out, err = (
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", newline="") for _ in range(2)
    )
    sys.stdout, sys.stderr = out, err
    try:
        code = _code(_main(program))
    finally:
        sys.argv, sys.stdin, sys.stdout, sys.stderr = before
        _forget()
    return Done(code, *(_text(stream) for stream in (out, err)))


def _main(program: str) -> Callable[[], Any]:
    if program == "lab":
        from testbed.cli import main

        return main._main
    if program == "policy":
        from agents.policy import cli

        return lambda: cli._main(None)
    if program == "dks":
        from agents.dks import daemon as dks

        return dks.main
    from agents.lks import daemon as lks

    return lks.main


def _code(main: Callable[[], Any]) -> int:
    try:
        return int(main() or 0)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except KeyboardInterrupt:
        return 130


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode("utf-8", "replace")  # type: ignore[attr-defined, no-any-return]


def _forget() -> None:
    """What a program leaves behind in its process, and a process takes with it."""
    from testbed.setup import children

    children._ended.clear()
    for name in [name for name in sys.modules if name.startswith("experiment_")]:
        del sys.modules[name]


def _findings(lines: Sequence[str]) -> bool:
    """What `lab validate` says of each topology: the parts of an error, without the program's name."""
    return bool(lines) and any(line.startswith(("  allowed: ", "  next:    ")) for line in lines)


def well_said(program: str, done: Done) -> str:
    """What is wrong with how a command line ended; "" when nothing is."""
    if done.code not in CODES:
        return f"exit code {done.code}"
    if "Traceback (most recent call last)" in done.out + done.err:
        return "a traceback"
    lines = done.err.splitlines()
    if done.code in (2, 3) and not lines and not done.out.startswith(("{", "[")):
        return "no word of what is wrong"
    named = any(line.startswith(f"{program}: ") for line in lines)
    if done.code in (2, 3) and lines and not named and not ("Usage: " in done.err + done.out or _findings(lines)):
        return f"no line begins with '{program}: '"
    for line in lines:
        if line.startswith(f"{program}:   ") and not line.startswith(
            (f"{program}:   allowed: ", f"{program}:   next:    ")
        ):
            continue
        if line.startswith(f"{program}:   allowed: ") and not line.removeprefix(f"{program}:   allowed: ").strip():
            return "an empty `allowed`"
    return ""
