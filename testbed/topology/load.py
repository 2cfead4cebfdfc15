"""From what a person types after --topology to a resolved topology."""

from __future__ import annotations

from pathlib import Path

from testbed.errors import InputError, Location
from testbed.topology import adjacent, check, containerlab, generate, sndlib, topohub, zoo
from testbed.topology.address import resolve
from testbed.topology.findings import Caution, TopologyErrors, nearest, some
from testbed.topology.names import of_file
from testbed.topology.read import Reading, opened, read, validated
from testbed.topology.resolved import Topology
from testbed.topology.source import TopologySource

VERSIONS = {"2": [2], "3": [3], "2,3": [2, 3]}
"""What may be asked for instead of a topology's own versions of OSPF."""
LIBRARY = Path(__file__).resolve().parents[2] / "topologies"
YAML_SUFFIXES = (".yaml", ".yml")
GRAPHS = {".graphml": zoo.read_graph, ".gml": zoo.read_graph, ".json": topohub.read_graph, ".xml": sndlib.read_xml}


def library() -> list[str]:
    """The names in topologies/, which stand for their files."""
    return sorted(file.stem for file in LIBRARY.glob("*.yaml"))


def load(spec: str, ospf: str | None = None) -> Topology:
    """Resolve "abilene", "ring:20", "mine.yaml", "zoo.graphml" or another published network. `ospf`: one of VERSIONS,
    to run these versions instead of its own; then its name says so.

    Raises InputError with all that is wrong.
    """
    return examine(spec, ospf)[0]


def examine(spec: str, ospf: str | None = None) -> tuple[Topology, list[Caution]]:
    """As `load`, with what of the topology will not come up although nothing is wrong with it."""
    reading, name = _read(spec)
    if ospf is not None:
        reading, name = _with_versions(reading, ospf), _named_after(name, ospf)
    errors = list(reading.errors)
    if reading.source is not None:
        errors += check.check(reading.source, reading.where, reading.whole, reading.dropped)
    if errors or reading.source is None:
        raise TopologyErrors(errors)
    try:
        topology = resolve(reading.source, of_file(name))
    except ValueError as error:
        raise InputError(str(error), where=spec, allowed="fewer or smaller networks") from error
    return topology, _cautions(topology, reading)


def _with_versions(reading: Reading, ospf: str) -> Reading:
    if ospf not in VERSIONS:
        raise InputError(f"unknown version of OSPF {ospf!r}", where="--ospf", allowed=", ".join(VERSIONS))
    source = reading.source
    if source is None:
        return reading
    changed: dict[str, object] = {"ospf": source.ospf.model_copy(update={"versions": VERSIONS[ospf]})}
    if 2 not in VERSIONS[ospf] and source.pim is not None:
        # Whoever named a rendezvous point had routes of IPv4 in mind. There are none, so PIM does not run.
        changed["pim"] = source.pim.model_copy(update={"rp": None})
    if source.name:
        changed["name"] = _named_after(source.name, ospf)
    return reading._replace(source=source.model_copy(update=changed))


def _named_after(name: str, ospf: str) -> str:
    """What a topology with these versions of OSPF is called."""
    return f"{name}-ospf{ospf.replace(',', '')}"


def _cautions(topology: Topology, reading: Reading) -> list[Caution]:
    """In the order of the file's segments; the parts that nothing joins come last."""
    source = reading.source
    assert source is not None
    paths = [("links", index) for index in range(len(source.links))] + [("lans", name) for name in source.lans]
    # Links are resolved first and LANs after them, each in the order of the file.
    path_of = dict(zip(topology.segments, paths, strict=False))
    cautions = [
        Caution(f"{each.segment}: {each.problem}", reading.where(*path_of[each.segment]))
        for each in adjacent.hindrances(topology)
    ]
    parts = adjacent.apart(topology)
    if len(parts) > 1:
        rest = [name for part in parts[1:] for name in part]
        problem = f"without those adjacencies {some(rest)} cannot be reached from {some(parts[0])}"
        cautions.append(Caution(problem, Location(reading.where().file)))
    return cautions


def _read(spec: str) -> tuple[Reading, str]:
    path = Path(spec)
    if path.suffix.lower() in GRAPHS:
        return _made(GRAPHS[path.suffix.lower()](path), path), path.stem
    if sndlib.is_native(path):
        return _made(sndlib.read_native(path), path), path.stem
    if path.suffix.lower() in YAML_SUFFIXES:
        data, lines = opened(path)
        if containerlab.is_one(data):
            return containerlab.reading(data, lines, path), path.name.split(".")[0]
        return validated(data, lines), path.stem
    if generate.is_generator(spec):
        return _made(generate.generate(spec), spec), spec.replace(":", "-").replace("=", "")
    if spec in library():
        return read(LIBRARY / f"{spec}.yaml"), spec
    known = [*library(), *generate.FORMS]
    files = f"a {', '.join([*YAML_SUFFIXES, *GRAPHS])} file, or SNDlib's text"
    raise InputError(
        f"unknown topology {spec!r}{nearest(spec.split(':')[0], known)}",
        allowed=f"{', '.join(library())}; {', '.join(generate.FORMS.values())}; {files}",
        next_command="lab topology list",
    )


def _made(source: TopologySource, file: Path | str) -> Reading:
    """A source that has no lines."""
    return Reading(source, lambda *_: Location(file), [], True)
