"""Are keys and their numbers the same everywhere? Of records made by hand: each thing that must not be is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agents.policy.compile import compile_documents
from agents.policy.domain import Settings
from agents.policy.spi import sa_slots
from testbed.analysis.numbering import Numbering, numbering
from testbed.analysis.run import Run
from testbed.domains.build import domain_of
from testbed.domains.keys import keys_of
from testbed.keying.options import VALIDITY_S
from testbed.record.plan import Plan
from testbed.topology.load import load

LINE = load("line:2")
DOCUMENTS = compile_documents(domain_of(LINE, keys_of(1), LINE.dks.address, Settings(validity_s=VALIDITY_S)), 1, 0)
NEWEST = 70
"""More than an SPI can say of a generation."""

Sas = dict[str, list[dict[str, str]]]


def consistent(found: Numbering) -> bool:
    """One numbering, the ledger's, and one key for each number of it."""
    return bool(found.groups) and not (found.foreign or found.keyless or found.two_keys or found.beside_ledger)


def everything(generation: int = NEWEST) -> tuple[Sas, dict[str, int]]:
    """What both kernels have, and the ledger, when all is right."""
    sas: Sas = {name: [] for name in DOCUMENTS}
    ledger = {}
    for document in DOCUMENTS.values():
        for group in document.own_groups():
            ledger[str(group)] = generation
            interface = document.interface(group.interface)
            assert interface is not None
            for slot in sa_slots(interface, group.routing_protocol):
                spi = slot.spi(document.spi, generation)
                for held in sas.values():
                    held.append(
                        {
                            "spi": f"{spi:#010x}",
                            "source": "192.0.2.1",
                            "destination": str(slot.destination),
                            "key": f"{spi:016x}",
                        }
                    )
    return sas, ledger


def compared(
    folder: Path, sas: Sas, ledger: dict[str, int] | None, told: int = NEWEST, removed: frozenset[str] = frozenset()
) -> Numbering | None:
    """The comparison when the agents told that every SA is of generation `told`."""
    Plan(experiment="dks_outage", topology=LINE, keying="dks-lks", seed=1, duration_s=60).write(folder / "plan.json")
    events: list[dict[str, Any]] = []
    for node, held in sas.items():
        for sa in held:
            words = {"spi": sa["spi"], "destination": sa["destination"], "generation": told, "change": "added"}
            events.append({"t": 1, "node": node, "source": "agent", "kind": "sa", **words})
        events.append({"t": 2, "node": node, "source": "xfrm", "kind": "sad", "sas": held})
    if ledger is not None:
        events.append({"t": 2, "node": "dks", "source": "xfrm", "kind": "book", "generations": ledger})
    events.sort(key=lambda each: each["t"])
    (folder / "record.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events))
    return numbering(Run(folder), removed)


def test_one_key_for_each_number_and_the_ledger_s_numbers_are_consistent(tmp_path: Path) -> None:
    found = compared(tmp_path, *everything())
    assert found is not None and consistent(found)
    assert found.groups == sum(len(list(each.own_groups())) for each in DOCUMENTS.values())
    assert found.compared == 2 * len(everything()[0]["r1"])


def test_two_keys_under_one_number_are_found(tmp_path: Path) -> None:
    sas, ledger = everything()
    sas["r2"][0]["key"] = "another"
    found = compared(tmp_path, sas, ledger)
    assert found is not None and len(found.two_keys) == 1 and not consistent(found)


def test_a_ledger_that_is_behind_or_ahead_is_found(tmp_path: Path) -> None:
    for wrong in (NEWEST - 1, NEWEST + 64):
        sas, ledger = everything()
        ledger[next(iter(ledger))] = wrong
        found = compared(tmp_path, sas, ledger)
        assert found is not None and found.beside_ledger == (next(iter(ledger)),)


def test_a_receiver_without_the_speaker_s_key_is_found(tmp_path: Path) -> None:
    sas, ledger = everything()
    lost = sas["r2"].pop(0)
    found = compared(tmp_path, sas, ledger)
    assert lost and found is not None and len(found.keyless) == 1


def test_an_sa_of_nobody_is_found(tmp_path: Path) -> None:
    sas, ledger = everything()
    sas["r1"].append({"spi": "0x00000101", "source": "192.0.2.1", "destination": "224.0.0.5", "key": "0"})
    found = compared(tmp_path, sas, ledger)
    assert found is not None and found.foreign == 1 and not consistent(found)


def test_an_sa_between_a_rendezvous_point_and_a_router_that_registers_is_of_no_group(tmp_path: Path) -> None:
    sas, ledger = everything()
    (pair,) = DOCUMENTS["r1"].pairs
    for one, other in (("0.0.0.0", pair.remote[0]), (pair.remote[0], pair.local[0])):  # as the kernel lists them
        sas["r1"].append({"spi": "0x00000101", "source": str(one), "destination": str(other), "key": "0"})
    found = compared(tmp_path, sas, ledger)
    assert found is not None and consistent(found)


def test_an_sa_whose_spi_is_not_that_of_the_generation_told_is_found(tmp_path: Path) -> None:
    found = compared(tmp_path, *everything(), told=NEWEST + 1)
    assert found is not None and found.foreign == found.compared


def test_a_run_without_a_ledger_is_not_compared(tmp_path: Path) -> None:
    assert compared(tmp_path, everything()[0], None) is None


def test_a_removed_router_s_kernel_is_not_asked_and_others_may_hold_nothing_of_it(tmp_path: Path) -> None:
    sas, ledger = everything()
    own = {str(group) for group in DOCUMENTS["r1"].own_groups()}
    found = compared(tmp_path, sas, ledger, removed=frozenset({"r2"}))
    assert found is not None and (found.groups, found.compared) == (len(own), len(sas["r1"]))
    assert found.foreign == len(own)
    mine = [sa for sa in sas["r1"] if DOCUMENTS["r1"].spi.holds(int(sa["spi"], 16))]
    found = compared(tmp_path, {"r1": mine, "r2": sas["r2"]}, dict.fromkeys(own, NEWEST), removed=frozenset({"r2"}))
    assert found is not None and consistent(found)
