"""From what a person types after --topology to a resolved topology."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed.errors import InputError, Location
from testbed.topology import check, generate, zoo
from testbed.topology.address import resolve
from testbed.topology.read import TopologyErrors, read
from testbed.topology.resolved import Topology
from testbed.topology.source import TopologySource

LIBRARY = Path(__file__).resolve().parents[2] / "topologies"
GRAPH_SUFFIXES = (".graphml", ".gml")


def library() -> list[str]:
    """The names in topologies/, which stand for their files."""
    return sorted(file.stem for file in LIBRARY.glob("*.yaml"))


def load(spec: str) -> Topology:
    """Resolve "abilene", "ring:20", "mine.yaml" or "zoo.graphml". Raises InputError with all that is wrong."""
    source, where, name = _source(spec)
    if errors := check.check(source, where):
        raise TopologyErrors(errors)
    try:
        return resolve(source, name)
    except ValueError as error:
        raise InputError(str(error), where=spec, allowed="fewer or smaller networks") from error


def _source(spec: str) -> tuple[TopologySource, Callable[..., Location], str]:
    path = Path(spec)
    if path.suffix.lower() in GRAPH_SUFFIXES:
        return zoo.read_graph(path), lambda *_: Location(path), path.stem
    if path.suffix.lower() in (".yaml", ".yml"):
        return _file(path)
    if generate.is_generator(spec):
        return generate.generate(spec), lambda *_: Location(spec), spec.replace(":", "-").replace("=", "")
    if spec in library():
        return _file(LIBRARY / f"{spec}.yaml")
    raise InputError(
        f"unknown topology {spec!r}",
        allowed=f"{', '.join(library())}; {', '.join(generate.FORMS.values())}; a .yaml, .graphml or .gml file",
        next_command="lab topology list",
    )


def _file(path: Path) -> tuple[TopologySource, Callable[..., Any], str]:
    source, lines = read(path)
    return source, lines.of, path.stem
