"""An agent for the tests of the nursery: writes an event that tells where it is, and stays or leaves."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path


def main(argv: list[str]) -> int:
    """`stay` or `leave CODE`."""
    inode = os.stat("/proc/self/ns/net").st_ino
    event = {"t": time.monotonic_ns(), "node": os.environ["LAB_NODE"], "kind": "started", "inode": inode}
    event["hostname"] = os.uname().nodename
    with open(os.environ["LAB_EVENTS"], "a") as file:
        file.write(json.dumps(event) + "\n")
    print("said on stderr's file", flush=True)
    if argv[0] == "leave":
        return int(argv[1])
    Path(os.environ["LAB_EVENTS"] + ".up").touch()
    signal.pause()
    return 0
