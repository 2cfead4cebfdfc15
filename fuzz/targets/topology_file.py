"""A topology as a person writes it, in YAML, or as others publish theirs: how a file begins says which form it has."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from fuzz.harness import Target
from testbed.errors import InputError
from testbed.topology.load import LIBRARY, load

_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-topology-")


# How a file of each form begins, and how it is called.
_FORMS = {b"<net": "xml", b"<": "graphml", b"{": "json", b"?": "txt", b"graph": "gml", b"": "yaml"}


def run(data: bytes) -> object:
    ending = next(ending for start, ending in _FORMS.items() if data.startswith(start))
    file = Path(_FOLDER.name, f"t.{ending}")
    file.write_bytes(data[: 1 << 13])
    return load(str(file))


def seeds() -> Iterator[bytes]:
    for name in ("areas", "lan", "line"):
        yield (LIBRARY / f"{name}.yaml").read_bytes()
    yield (
        b'<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph edgedefault="undirected">'
        b'<node id="a"/><node id="b"/><edge source="a" target="b"/></graph></graphml>'
    )
    yield (
        b'<network><networkStructure><nodes coordinatesType="geographical"><node id="a"><coordinates><x>1</x><y>2</y>'
        b'</coordinates></node><node id="b"/></nodes><links><link id="l"><source>a</source><target>b</target></link>'
        b"</links></networkStructure></network>"
    )
    yield b'{"nodes": [{"id": 0, "pos": [1, 2]}, {"id": 1}], "edges": [{"source": 0, "target": 1, "dist": 9}]}'
    yield b"?SNDlib native format; type: network\nNODES (\na ( 1 2 )\nb ( 3 4 )\n)\nLINKS (\nl ( a b )\n)\n"
    yield b'graph [ node [ id 0 label "a" ] node [ id 1 ] edge [ source 0 target 1 ] ]'
    yield (
        b"topology:\n  kinds: {linux: {image: frr}}\n  nodes: {a: {}, b: {mtu: 1}, h: {image: x}, br: {kind: bridge}}\n"
        b"  links:\n    - endpoints: ['a:eth1', 'b:eth1']\n      mtu: 1400\n    - endpoints: ['b:e2', 'h:eth0']\n"
        b"    - {endpoints: [{node: a, interface: e3}, 'br:x']}\n    - endpoints: ['b:e3', 'br:y']\n"
    )
    yield (
        b"ospf: {areas: {1: stub}}\nlinks:\n  - {between: [a, b], mtu: [1400, 1500], jitter: 1, passive: a, area: 1}\n"
        b"  - {between: [b, a], interfaces: [x, y]}\nlans:\n  l: {routers: [a, b], priority: {a: 0}, mtu: {b: 9000}}\n"
    )


TARGET = Target(run, (InputError,), seeds, text=True)
