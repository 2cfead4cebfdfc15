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


def consistent(result: Numbering) -> bool:
    """One numbering, the ledger's, and one key for each number of it."""
    return bool(result.groups) and not (result.foreign or result.keyless or result.two_keys or result.beside_ledger)


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
    folder: Path,
    sas: Sas,
    ledger: dict[str, int] | None,
    generation: int = NEWEST,
    removed: frozenset[str] = frozenset(),
) -> Numbering | None:
    """The comparison when the agents told that every SA is of generation `generation`."""
    Plan(experiment="dks_outage", topology=LINE, keying="dks-lks", seed=1, duration_s=60).write(folder / "plan.json")
    events: list[dict[str, Any]] = []
    for node, held in sas.items():
        for sa in held:
            words = {"spi": sa["spi"], "destination": sa["destination"], "generation": generation, "change": "added"}
            events.append({"t": 1, "node": node, "source": "agent", "kind": "sa", **words})
        events.append({"t": 2, "node": node, "source": "xfrm", "kind": "sad", "sas": held})
    if ledger is not None:
        events.append({"t": 2, "node": "dks", "source": "xfrm", "kind": "book", "generations": ledger})
    events.sort(key=lambda each: each["t"])
    (folder / "record.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events))
    return numbering(Run(folder), removed)


def test_one_key_for_each_number_and_the_ledger_s_numbers_are_consistent(tmp_path: Path) -> None:
    result = compared(tmp_path, *everything())
    assert result is not None and consistent(result)
    assert result.groups == sum(len(list(each.own_groups())) for each in DOCUMENTS.values())
    assert result.compared == 2 * len(everything()[0]["r1"])


def test_two_keys_under_one_number_are_found(tmp_path: Path) -> None:
    sas, ledger = everything()
    sas["r2"][0]["key"] = "another"
    result = compared(tmp_path, sas, ledger)
    assert result is not None and len(result.two_keys) == 1 and not consistent(result)


def test_a_ledger_that_is_behind_or_ahead_is_found(tmp_path: Path) -> None:
    for wrong in (NEWEST - 1, NEWEST + 64):
        sas, ledger = everything()
        ledger[next(iter(ledger))] = wrong
        result = compared(tmp_path, sas, ledger)
        assert result is not None and result.beside_ledger == (next(iter(ledger)),)


def test_a_receiver_without_the_speaker_s_key_is_found(tmp_path: Path) -> None:
    sas, ledger = everything()
    lost = sas["r2"].pop(0)
    result = compared(tmp_path, sas, ledger)
    assert lost and result is not None and len(result.keyless) == 1


def test_an_sa_of_nobody_is_found(tmp_path: Path) -> None:
    sas, ledger = everything()
    sas["r1"].append({"spi": "0x00000101", "source": "192.0.2.1", "destination": "224.0.0.5", "key": "0"})
    result = compared(tmp_path, sas, ledger)
    assert result is not None and result.foreign == 1 and not consistent(result)


def test_an_sa_between_a_rendezvous_point_and_a_router_that_registers_is_of_no_group(tmp_path: Path) -> None:
    sas, ledger = everything()
    (pair,) = DOCUMENTS["r1"].pairs
    for one, other in (("0.0.0.0", pair.remote[0]), (pair.remote[0], pair.local[0])):  # as the kernel lists them
        sas["r1"].append({"spi": "0x00000101", "source": str(one), "destination": str(other), "key": "0"})
    result = compared(tmp_path, sas, ledger)
    assert result is not None and consistent(result)


def test_an_sa_whose_spi_is_not_that_of_the_generation_told_is_found(tmp_path: Path) -> None:
    result = compared(tmp_path, *everything(), generation=NEWEST + 1)
    assert result is not None and result.foreign == result.compared


def test_a_run_without_a_ledger_is_not_compared(tmp_path: Path) -> None:
    assert compared(tmp_path, everything()[0], None) is None


def test_a_removed_router_s_kernel_is_not_asked_and_others_may_hold_nothing_of_it(tmp_path: Path) -> None:
    sas, ledger = everything()
    own = {str(group) for group in DOCUMENTS["r1"].own_groups()}
    result = compared(tmp_path, sas, ledger, removed=frozenset({"r2"}))
    assert result is not None and (result.groups, result.compared) == (len(own), len(sas["r1"]))
    assert result.foreign == len(own)
    mine = [sa for sa in sas["r1"] if DOCUMENTS["r1"].spi.holds(int(sa["spi"], 16))]
    result = compared(tmp_path, {"r1": mine, "r2": sas["r2"]}, dict.fromkeys(own, NEWEST), removed=frozenset({"r2"}))
    assert result is not None and consistent(result)
