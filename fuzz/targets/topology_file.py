"""A topology as a person writes it, in YAML or GraphML (a file that begins with `<`)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from fuzz.harness import Target
from testbed.errors import InputError
from testbed.topology.load import LIBRARY, load

_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-topology-")


def run(data: bytes) -> object:
    file = Path(_FOLDER.name, "t.graphml" if data[:1] == b"<" else "t.yaml")
    file.write_bytes(data[: 1 << 13])
    return load(str(file))


def seeds() -> Iterator[bytes]:
    for name in ("areas", "lan", "line"):
        yield (LIBRARY / f"{name}.yaml").read_bytes()
    yield (
        b'<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph edgedefault="undirected">'
        b'<node id="a"/><node id="b"/><edge source="a" target="b"/></graph></graphml>'
    )


TARGET = Target(run, (InputError,), seeds, text=True)
