"""`lab capture LINK`: prints the packets on a wire of the running laboratory, or writes them to a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from testbed.attach.running import Sink


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def capture(
        link: Annotated[str, typer.Argument(help="An interface (r1-eth0) or a segment (r1--r2, r1--r2#2).")],
        write: Annotated[
            Path | None,
            typer.Option(
                "-w", help="Write a file instead: pcap, or pcapng if its name ends so; - for stdout (pcapng)."
            ),
        ] = None,
        count: Annotated[int | None, typer.Option("-c", help="Stop after this many packets.")] = None,
        filter: Annotated[list[str] | None, typer.Argument(help="A tcpdump filter, after --.")] = None,
        lab: Annotated[str | None, typer.Option(help="Which laboratory, if several are up.")] = None,
    ) -> None:
        """Show the packets on a wire, until Ctrl-C. A segment is captured at its first interface.

        lab capture r1--r2 -w - | wireshark -k -i -
        """
        from testbed.attach.running import chosen
        from testbed.errors import InputError
        from testbed.setup.paths import cache_dir

        running = chosen(cache_dir() / "up", lab)
        status = running.ask("status")
        interface = link
        if link in status["segments"]:
            interface = status["segments"][link][0]
        if interface not in status["interfaces"]:
            raise InputError(
                f"there is no interface or segment {link!r}",
                allowed=", ".join([*status["segments"], *status["interfaces"]]),
            )
        device = status["interfaces"][interface]
        argv = ["tcpdump", "-n", "-l", "-i", device]
        if write is not None:  # with the interface's name, and nothing but the capture on standard output
            form = "pcapng" if write.suffix == ".pcapng" or str(write) == "-" else "pcap"
            argv = ["python3", "-m", "testbed.inside.wire", form, device]
        if count is not None:
            argv += ["-c", str(count)]
        if filter:
            argv += filter
        with _sink(write) as sink:
            code = running.run("wires", argv, sink=sink, input=False, until_interrupted=True)
        raise typer.Exit(InputError.exit_code if code else 0)  # tcpdump has printed its own error


@contextmanager
def _sink(write: Path | None) -> Iterator[Sink]:
    from testbed.cli.shell import write_out
    from testbed.errors import EnvironmentFailure, InputError

    if write is None or str(write) == "-":
        yield write_out
        return
    try:
        descriptor = os.open(write, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror}", where=f"-w {write}", allowed="a file that you may write, or -"
        ) from error

    def put(data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except OSError as error:
            raise EnvironmentFailure(f"cannot be written: {error.strerror}", where=f"-w {write}") from error

    try:
        yield put
    finally:
        os.close(descriptor)
