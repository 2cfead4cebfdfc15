"""Runs tcpdump on an interface and writes what it hears to standard output, as pcapng or pcap.

tcpdump's talk about its own work goes; its errors, and exit code, are ours. Knows nothing of topologies and links.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

from testbed.probes.pcapng import Rewriter

TALK = (b"listening on ", b" packet captured", b" packets captured", b" received by filter", b" dropped by ")


def main(words: Sequence[str]) -> int:
    """`words`: pcap or pcapng, the interface, and tcpdump's own."""
    form, interface, *more = words
    command = ["tcpdump", "-n", "-U", "--nano", "-i", interface, "-w", "-", *more]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert child.stdout is not None and child.stderr is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: child.send_signal(number))
    teller = threading.Thread(target=_tell, args=(child.stderr,), daemon=True)
    teller.start()
    rewriter = Rewriter(interface) if form == "pcapng" else None
    try:
        while data := os.read(child.stdout.fileno(), 1 << 16):
            sys.stdout.buffer.write(data if rewriter is None else rewriter.take(data))
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        child.terminate()
        with suppress(BrokenPipeError):
            sys.stdout.close()
    teller.join()
    return child.wait()


def _tell(errors) -> None:  # type: ignore[no-untyped-def]
    for line in errors:
        if not any(talk in line for talk in TALK):
            sys.stderr.buffer.write(line)
            sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
