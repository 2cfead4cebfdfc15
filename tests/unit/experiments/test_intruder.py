"""The intruder's packets are good ones, its plan can be played, and what comes of it is counted in the right phase."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from agents.ikev2.codec.header import parse_header
from agents.ipsec.model import Algorithm, SecurityAssociation
from testbed.analysis.measures import Adjacencies
from testbed.analysis.run import NS, Run
from testbed.analysis.trees import address_of
from testbed.errors import InputError
from testbed.faults import packets
from testbed.faults.check import check_plan
from testbed.record.plan import Step
from testbed.runner.experiment import Measures, Table, find, step
from testbed.topology.load import load

OFFICE = load("office")
intruder = sys.modules[type(find("intruder")).__module__]
PHASES = intruder.PHASES


def run_of(folder: Path, *events: dict[str, Any]) -> Run:
    find("intruder").plan(OFFICE, "lks", 1, {}).write(folder / "plan.json")
    marks = [
        {"t": moment * NS, "node": "lab", "source": "lab", "kind": "mark", "name": name}
        for name, moment in PHASES.items()
        if name != "end"
    ]
    record = sorted([*marks, *events], key=lambda each: each["t"])
    (folder / "record.jsonl").write_text("".join(json.dumps(each) + "\n" for each in record))
    return Run(folder)


def event(now_s: float, source: str, kind: str, node: str = "r2", **fields: Any) -> dict[str, Any]:
    return {"t": round(now_s * NS), "node": node, "source": source, "kind": kind, **fields}


# -- packets


def test_headers_and_messages_have_checksums_that_come_out_right() -> None:
    cast = intruder.Cast(OFFICE)
    for data in (*cast.rogue("office"), *cast.forged("office"), *cast.forged_pim().values()):
        assert packets.internet_checksum(data[14:34]) == 0
        body = data[34:]
        if data[23] == packets.PIM and body[0] == 0x21:
            body = body[:8]  # RFC 7761, 4.9: of a Register without the packet that it brings
        if data[23] == packets.OSPF:
            body = body[:16] + body[24:]  # RFC 2328, A.3.1: without the authentication field
        assert packets.internet_checksum(body) == 0


def test_forged_packets_of_ipv6_have_right_checksums_too_and_bear_the_mark_in_the_flow_label() -> None:
    cast = intruder.Cast(load("office", "3"))
    made = [*cast.rogue("office"), *cast.forged("office"), *cast.guessed(), *cast.flood()]
    for data in made:
        head = packets.opened(data)
        assert head is not None and head.at == 54 and data[12:14] == bytes.fromhex("86dd")
        assert int.from_bytes(data[14:18], "big") & 0xFFFFF == packets.FORGED
        assert int.from_bytes(data[18:20], "big") == len(data) - head.at
        if head.protocol != packets.ESP:
            ends = IPv6Address(data[22:38]), IPv6Address(data[38:54])
            assert packets.checksum6(*ends, head.protocol, data[head.at :]) == 0
        again = packets.relabelled(data, packets.REPLAYED)
        assert int.from_bytes(again[14:18], "big") & 0xFFFFF == packets.REPLAYED and again[18:] == data[18:]
    hello, update = cast.forged("office")[1], cast.forged("office")[0]
    assert (hello[54:56], update[54:56]) == (b"\x03\x01", b"\x03\x04")  # OSPFv3: Hello, LS Update
    changed = bytearray(made[-1])
    changed[70:74] = bytes(4)
    assert packets.checksum6(IPv6Address(bytes(changed[22:38])), IPv6Address(bytes(changed[38:54])), packets.UDP,
                             packets.summed(bytes(changed))[54:]) == 0  # fmt: skip
    assert not cast.forged_pim() and packets.multicast_mac(packets.ALL_OSPF6) == "33:33:00:00:00:05"


@pytest.mark.parametrize(("version", "start"), [(2, 28), (3, 20)])
def test_an_lsa_has_the_checksum_of_rfc_905(version: int, start: int) -> None:
    ends: dict[int, IPv4Address | IPv6Address] = {2: IPv4Address("10.0.0.1"), 3: IPv6Address("fe80::1")}
    update = packets.update(IPv4Address("10.0.0.1"), ends[version], "0.0.0.0", IPv4Address("10.0.0.2"))
    c0 = c1 = 0
    for octet in update[start + 2 :]:  # the age is left out
        c0 = (c0 + octet) % 255
        c1 = (c1 + c0) % 255
    assert (c0, c1) == (0, 0)


def test_forged_esp_opens_with_the_keys_of_its_sa() -> None:
    sa = SecurityAssociation(
        IPv4Address("10.0.0.1"), packets.ALL_OSPF, 0x1234, encryption=Algorithm("cbc(aes)", bytes(16)),
        integrity=Algorithm("hmac(sha256)", bytes(32), 128), esn=True,
    )  # fmt: skip
    sealed = packets.esp(sa, (1 << 32) + 7, packets.OSPF, b"hello")
    assert sealed[:8] == bytes.fromhex("0000123400000007")
    covered = sealed[:-16] + bytes.fromhex("00000001")
    assert hmac.new(bytes(32), covered, hashlib.sha256).digest()[:16] == sealed[-16:]
    opening = Cipher(algorithms.AES(bytes(16)), modes.CBC(sealed[8:24])).decryptor()
    assert opening.update(sealed[24:-16])[:5] == b"hello"
    assert opening.finalize() == b""


def test_the_flood_is_of_good_first_messages_from_three_kinds_of_source() -> None:
    frames = intruder.Cast(OFFICE).flood()
    assert len({data[26:30] for data in frames}) == 3
    for data in frames:
        assert data[22] == 255
        assert parse_header(data[42:]).exchange == 34


def test_every_kind_of_pim_message_is_forged_as_rfc_7761_and_5059_say() -> None:
    made = {phase: data[34:] for phase, data in intruder.Cast(OFFICE).forged_pim().items()}
    kinds = {"Hello": 0, "Register": 1, "Register-Stop": 2, "Join": 3, "Prune": 3, "Bootstrap": 4, "Assert": 5}
    assert {phase.removeprefix("PIM "): body[0] & 15 for phase, body in made.items()} == kinds
    source = address_of(OFFICE, intruder.Cast(OFFICE).victim).packed
    group = {phase: IPv4Address(each).packed for phase, each in intruder.FORGED_PIM.items() if each}
    assert made["PIM Hello"][4:10] == bytes.fromhex("0001 0002 0000")  # hold time 0
    assert made["PIM Prune"][22:26] == bytes.fromhex("0000 0001") and made["PIM Prune"][30:] == source
    assert made["PIM Join"][22:26] == bytes.fromhex("0001 0000")
    stop = made["PIM Register-Stop"]
    assert stop[4:] == bytes.fromhex("0100 0020") + group["PIM Register-Stop"] + bytes.fromhex("0100") + source
    assert made["PIM Assert"][18:] == bytes(8), "a metric that nobody can better"
    register = made["PIM Register"]
    assert register[4:8] == bytes(4) and register[8] == 0x45 and register[24:28] == group["PIM Register"]
    assert packets.internet_checksum(register[8:28]) == 0
    bootstrap = made["PIM Bootstrap"]
    assert bootstrap[6:8] == bytes([30, 255]) and bootstrap[18:22] == group["PIM Bootstrap"]
    assert bootstrap[28:32] == bootstrap[10:14], "the sender says that it is the rendezvous point"


def test_a_forged_message_counts_against_its_own_group_and_stream_also_when_it_works_later(tmp_path: Path) -> None:
    late = PHASES["PIM Assert"] + 9  # in another phase

    def lost(now_s: float, first: int, last: int) -> dict[str, Any]:
        sent = [round((now_s + number / 5) * NS) for number in (0, last - first)]
        row = {"first_seq": first, "last_seq": last, "sent_first_ns": sent[0], "sent_last_ns": sent[1]}
        return event(now_s, "probe", "stream_loss", "lab", stream="PIM Assert", receiver="r4", **row)

    run = run_of(
        tmp_path,
        event(late, "mroute", "replace", origin="10.0.0.2", group=intruder.FORGED_PIM["PIM Assert"], iif=None, oifs=[]),
        lost(PHASES["PIM Assert"] - 0.5, 1, 5),  # three of them before the message, and not its own
        lost(late - 6, 15, 17),
    )
    counted = {phase: (intruder.rerouted(run, phase), intruder.lost(run, phase)) for phase in intruder.FORGED_PIM}
    assert counted.pop("PIM Assert") == (1, 5)
    assert counted.pop("PIM Hello") == (0, 0), "what comes before a phase is not its own"
    assert set(counted.values()) == {(0, 0)}


# -- the plan


@pytest.mark.parametrize("keying", ["none", "native", "manual", "lks"])
def test_the_plan_can_be_played(keying: str) -> None:
    check_plan(find("intruder").plan(OFFICE, keying, 1, {}))


def test_a_network_without_a_lan_beside_a_link_is_refused() -> None:
    with pytest.raises(InputError, match="no LAN"):
        find("intruder").plan(load("ring"), "lks", 1, {})


@pytest.mark.parametrize(
    "wrong",
    [
        step(1, "inject", segment="office", frames=["00" * 60]),
        step(1, "inject", segment="office", frames=["00" * 60], fresh=[[58, 4]]),
        step(1, "impostor", segment="office", victim="r4", router="r1", name="r1", key="r1"),
        step(1, "replay", segment="nowhere"),
        step(1, "router_remove", router="r9", hand_to="r1"),
    ],
)
def test_an_intruder_who_cannot_be_is_refused_before_anything_is_built(wrong: Step) -> None:
    plan = find("intruder").plan(OFFICE, "lks", 1, {})
    with pytest.raises(InputError):
        check_plan(plan.model_copy(update={"timeline": (wrong,)}))


# -- what is counted


def test_what_reaches_a_daemon_counts_in_its_own_phase_only(tmp_path: Path) -> None:
    run = run_of(
        tmp_path,
        event(PHASES["forged"] + 2, "probe", "intruded", what="forged", protocol=89),
        event(PHASES["PIM Join"] - 1, "frr", "adjacency", daemon="ospfd", neighbor="10.0.0.1", state="Init"),
        event(PHASES["PIM Join"] - 1, "route", "add", dst="10.0.0.9/32", nexthops=[]),
        event(PHASES["forged"], "xfrm", "stat", at="forged", counters={"XfrmInNoStates": 2}),
        event(PHASES["PIM Join"], "xfrm", "stat", at="PIM Join", counters={"XfrmInNoStates": 5}),
    )
    for count in (intruder.reached, intruder.changes, intruder.rerouted):
        assert [count(run, each) for each in ("forged", "PIM Join")] == [1, 0]
    assert intruder.grown_in(run, "forged") == {"XfrmInNoStates": 3}


def test_what_becomes_of_the_stranger_s_own_adjacency_counts_where_he_said_hello(tmp_path: Path) -> None:
    him = {"daemon": "ospfd", "neighbor": "6.6.6.6"}
    run = run_of(
        tmp_path,
        event(PHASES["rogue neighbour"] + 2, "frr", "adjacency", state="Init", **him),
        event(PHASES["tampered"] + 1, "frr", "adjacency", state="Deleted", **him),
    )
    assert [intruder.changes(run, each) for each in ("rogue neighbour", "tampered")] == [2, 0]


def test_ospf_is_signed_as_rfc_5709_says() -> None:
    key, hello = b"k" * 32, intruder.Cast(OFFICE).rogue("office")[0][34:]
    signed = packets.ospf_signed(hello, 7, key, 12)
    assert signed[:12] == hello[:12]
    assert signed[12:24] == bytes.fromhex("0000 0002 0000 07 20 0000000c")
    padded = signed[:-32] + bytes.fromhex("878fe1f3") * 8
    assert signed[-32:] == hmac.new(key, padded, hashlib.sha256).digest()
    assert packets.ospf_sequence(signed) == 12
    assert packets.ospf_sequence(hello) == 0


def test_lines_of_dropped_datagrams_are_those_of_the_agents_in_the_flood(tmp_path: Path) -> None:
    moments = (PHASES["flood"] + 1, PHASES["insider"] + 1)
    run = run_of(tmp_path, *(event(moment, "agent", "dropped") for moment in moments))
    assert intruder.lines(run, "flood") == 1


def test_the_figure_has_a_row_for_each_thing_done_and_says_least_and_most(tmp_path: Path) -> None:
    forged = [event(PHASES["forged"] + n, "probe", "intruded", what="forged", protocol=89) for n in (1, 2)]
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
    runs = [run_of(tmp_path / "1", *forged), run_of(tmp_path / "2", *forged[:1])]
    (drawn,) = find("intruder").draw(tmp_path, runs)
    assert (tmp_path / f"{drawn.name}.svg").is_file()
    assert find("intruder").draw(tmp_path, []) == []


def test_only_a_trial_that_was_admitted_counts_as_admitted(tmp_path: Path) -> None:
    outcomes = ("rejected: authentication_failed, notify 24", "no answer", "admitted", "no answer")
    trials = [event(PHASES["impostors"] + n, "probe", "impostor", "intruder", outcome=each)
              for n, each in enumerate(outcomes)]  # fmt: skip
    assert list(intruder.admitted(run_of(tmp_path, *trials)).values()) == [0, 0, 1, 0]


def test_of_an_administrators_key_each_document_is_told_apart(tmp_path: Path) -> None:
    deeds = [
        event(PHASES["impostors"] + moment, "fault", "administrator", "lab", deed=deed, outcome=outcome)
        for (moment, deed), outcome in zip(intruder.DISMISSAL, ("accepted", "accepted", "refused"), strict=True)
    ]
    assert list(intruder.taken(run_of(tmp_path, *deeds)).values()) == [1, 0]


def good() -> dict[str, float]:
    found = {f"{phase}: {what}": 0.0 for phase in (*intruder.STRANGERS, *intruder.INSIDERS)
             for what in ("packets at the daemons", "adjacency changes", "route changes")}  # fmt: skip
    found |= {f"{phase}: multicast packets lost": 0.0 for phase in intruder.FORGED_PIM}
    found |= {"flood: octets answered, % of octets sent": 8.0, "flood: lines of dropped datagrams": 26.0}
    found |= {f"impostor admitted: {name}": 0.0 for name in intruder.TRIALS}
    found |= {f"accepted: {name}": value for name, value in zip(intruder.SIGNED, (1.0, 0.0), strict=True)}
    return found | {"insider: packets at the daemons": 1.0, "impostor admitted: a router's stolen key": 1.0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("forged: packets at the daemons", 1.0),
        (f"accepted: {intruder.SIGNED[0]}", 0.0),
        (f"accepted: {intruder.SIGNED[1]}", 1.0),
        ("rogue neighbour: route changes", 1.0),
        ("insider elsewhere: packets at the daemons", 1.0),
        ("flood: octets answered, % of octets sent", 101.0),
        ("flood: lines of dropped datagrams", 1000.0),
        ("replayed after reboot: adjacency changes", 1.0),
        ("impostor admitted: unapproved key", 1.0),
        ("impostor admitted: the same key after its revocation", 1.0),
        ("impostor admitted: a router's stolen key", 0.0),
        ("insider: packets at the daemons", 0.0),
        ("PIM Assert: multicast packets lost", 5.0),
    ],
)
def test_each_thing_that_must_not_be_fails_the_run(name: str, value: float) -> None:
    def judged(extra: dict[str, float]) -> list[bool]:
        measures = Measures(5.0, Adjacencies(8, 8), extra=extra)
        return [each.ok for each in find("intruder").judge(Table({"lks": [measures]}))]

    assert all(judged(good()))
    assert judged(good() | {name: value}).count(False) == 1
