"""From what a person types after --topology to a resolved topology."""

from __future__ import annotations

from pathlib import Path

from testbed.errors import InputError, Location
from testbed.topology import check, generate, zoo
from testbed.topology.address import resolve
from testbed.topology.findings import TopologyErrors, nearest
from testbed.topology.read import Reading, read
from testbed.topology.resolved import Topology
from testbed.topology.source import TopologySource

LIBRARY = Path(__file__).resolve().parents[2] / "topologies"
YAML_SUFFIXES = (".yaml", ".yml")
GRAPH_SUFFIXES = (".graphml", ".gml")


def library() -> list[str]:
    """The names in topologies/, which stand for their files."""
    return sorted(file.stem for file in LIBRARY.glob("*.yaml"))


def load(spec: str) -> Topology:
    """Resolve "abilene", "ring:20", "mine.yaml" or "zoo.graphml". Raises InputError with all that is wrong."""
    reading, name = _read(spec)
    errors = list(reading.errors)
    if reading.source is not None:
        errors += check.check(reading.source, reading.where, reading.whole)
    if errors or reading.source is None:
        raise TopologyErrors(errors)
    try:
        return resolve(reading.source, name)
    except ValueError as error:
        raise InputError(str(error), where=spec, allowed="fewer or smaller networks") from error


def _read(spec: str) -> tuple[Reading, str]:
    path = Path(spec)
    if path.suffix.lower() in GRAPH_SUFFIXES:
        return _made(zoo.read_graph(path), path), path.stem
    if path.suffix.lower() in YAML_SUFFIXES:
        return read(path), path.stem
    if generate.is_generator(spec):
        return _made(generate.generate(spec), spec), spec.replace(":", "-").replace("=", "")
    if spec in library():
        return read(LIBRARY / f"{spec}.yaml"), spec
    known = [*library(), *generate.FORMS]
    raise InputError(
        f"unknown topology {spec!r}{nearest(spec.split(':')[0], known)}",
        allowed=f"{', '.join(library())}; {', '.join(generate.FORMS.values())}; a .yaml, .graphml or .gml file",
        next_command="lab topology list",
    )


def _made(source: TopologySource, place: Path | str) -> Reading:
    """A source that has no lines."""
    return Reading(source, lambda *_: Location(place), [], True)
