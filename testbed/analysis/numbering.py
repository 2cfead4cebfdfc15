"""Whether all routers mean the same keys at a run's end, and number them as the key server does.

Compares the kernels' SAs (record: xfrm sad) with each other and with the DKS's ledger (xfrm book). An SPI says which
group an SA is of and its generation modulo 2^generation_bits; the agents' events have the whole number. Knows nothing
of messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agents.policy import edit
from agents.policy.compile import compile_documents
from agents.policy.document import PolicyDocument
from agents.policy.domain import Settings
from agents.policy.names import GroupId
from agents.policy.spi import sa_slots
from testbed.analysis.run import Run
from testbed.domains.build import ISSUED_AT, domain_of
from testbed.domains.keys import keys_of
from testbed.keying.options import VALIDITY_S
from testbed.topology.resolved import Topology


@dataclass(frozen=True)
class Numbering:
    """What was found at the end of a run. Groups by name."""

    groups: int
    """Speakers' groups that policy has."""
    compared: int
    """SAs of all kernels but those of PIM's pairs, which have no group and no generation."""
    foreign: int
    """SAs that are of no group, or that the router's agent has not told of."""
    keyless: tuple[str, ...]
    """Groups with no SA at their speaker, or whose speaker and a neighbour have no SA in common."""
    two_keys: tuple[str, ...]
    """Groups of which two kernels have one SPI with different keys."""
    beside_ledger: tuple[str, ...]
    """Groups whose newest generation is not the newest in the ledger, at the speaker or at a receiver."""


def numbering(run: Run, removed: frozenset[str] = frozenset()) -> Numbering | None:
    """The comparison; None when the run wrote down no SAs or no ledger (option `sad`, keying with a DKS).

    `removed`: routers that are in the domain no more. Their kernels are not asked, and others' SAs of them are foreign.
    """
    ledgers, dumps = run.where("xfrm", "book"), run.where("xfrm", "sad")
    if not ledgers or not dumps:
        return None
    ledger: dict[str, int] = ledgers[-1]["generations"]
    documents = _documents(run.plan.topology, run.plan.seed, removed)
    bits = next(iter(documents.values())).spi.generation_bits
    group_at = dict(_spis(documents))
    pairs = _pairs(documents)
    generation_of = {
        (event["node"], event["spi"], event["destination"]): int(event["generation"])
        for event in run.where("agent", "sa")
    }
    held: dict[GroupId, dict[str, set[tuple[int, str]]]] = {}
    marks: dict[tuple[str, str, str], set[str]] = {}
    foreign = compared = 0
    for dump in dumps:
        for sa in dump["sas"] if dump["node"] not in removed else ():
            if (sa["source"], sa["destination"]) in pairs:
                continue
            compared += 1
            spi = int(sa["spi"], 16)
            group = group_at.get(spi >> bits << bits)
            generation = generation_of.get((dump["node"], sa["spi"], sa["destination"]))
            if group is None or generation is None or generation % (1 << bits) != spi % (1 << bits):
                foreign += 1
                continue
            held.setdefault(group, {}).setdefault(dump["node"], set()).add((generation, sa["destination"]))
            marks.setdefault((str(group), sa["spi"], sa["destination"]), set()).add(sa["key"])
    receivers = _receivers(documents)
    keyless, beside = set(), set()
    for group, neighbors in receivers.items():
        by_node = held.get(group, {})
        spoken = by_node.get(group.router, set())
        if not spoken or any(not spoken & by_node.get(each, set()) for each in neighbors):
            keyless.add(str(group))
        for node in (group.router, *neighbors):
            generations = {generation for generation, _destination in by_node.get(node, set())}
            if generations and max(generations) != ledger.get(str(group)):
                beside.add(str(group))
    return Numbering(
        groups=len(receivers),
        compared=compared,
        foreign=foreign,
        keyless=tuple(sorted(keyless)),
        two_keys=tuple(
            sorted({group for (group, _spi, _to), marks_of_group in marks.items() if len(marks_of_group) > 1})
        ),
        beside_ledger=tuple(sorted(beside)),
    )


def _documents(topology: Topology, seed: int, removed: frozenset[str]) -> dict[str, PolicyDocument]:
    """The run's documents as far as SPIs and neighbours go, which no setting changes."""
    settings = Settings(validity_s=VALIDITY_S)
    domain = domain_of(topology, keys_of(seed), topology.dks.address, settings)
    for router in sorted(removed):
        domain = edit.remove_router(domain, router)
    return compile_documents(domain, 1, ISSUED_AT)


def _spis(documents: dict[str, PolicyDocument]) -> Iterator[tuple[int, GroupId]]:
    """The SPI of generation 0 of every SA, and whose it is."""
    for document in documents.values():
        for group in document.own_groups():
            interface = document.interface(group.interface)
            if interface is not None:
                for slot in sa_slots(interface, group.routing_protocol):
                    yield slot.spi(document.spi, 0), group


def _pairs(documents: dict[str, PolicyDocument]) -> set[tuple[str, str]]:
    """Between which addresses pairs of routers have SAs of their own. Outbound ones are for packets from anywhere: the
    kernel looks for them before it knows the source (docs/ipsec.md)."""
    return {
        (source, str(remote))
        for document in documents.values()
        for pair in document.pairs
        for local in pair.local
        for remote in pair.remote
        for source in (str(local), "0.0.0.0")
    }


def _receivers(documents: dict[str, PolicyDocument]) -> dict[GroupId, tuple[str, ...]]:
    receivers: dict[GroupId, list[str]] = {
        group: [] for document in documents.values() for group in document.own_groups()
    }
    for name, document in documents.items():
        for _interface, _neighbor, group in document.neighbor_groups():
            receivers[group].append(name)
    return {group: tuple(sorted(names)) for group, names in receivers.items()}
