"""Adjacency changes as FRR's daemons log them."""

from __future__ import annotations

from testbed.probes.frrlog import adjacency, adjacency_events, election_events, parse_stamp

OSPF = (
    "2030/01/01 00:00:10.445745 OSPF: [Y05P2-YJVXY] AdjChg: Nbr 10.0.0.1, NbrIP 10.64.0.1 (default) on "
    "r2-eth0:10.64.0.2: Exchange -> Full (ExchangeDone)"
)
OSPF6 = (
    "2030/01/01 00:00:10.5 OSPF6: [ZM2GN-ZCZD5] AdjChg: Nbr 10.0.0.2(default) on 10.0.0.2%r1-eth0: ExStart -> ExChange"
    " (NegotiationDone)"
)


def test_a_stamp_gives_nanoseconds() -> None:
    assert parse_stamp(OSPF)[0] == 1893456010445745000  # type: ignore[index]
    assert parse_stamp("no stamp") is None


def test_an_ospf_change_is_read_with_interface_neighbour_and_reason() -> None:
    assert adjacency("ospfd", OSPF) == {
        "daemon": "ospfd",
        "ifname": "r2-eth0",
        "neighbor": "10.0.0.1",
        "state": "Full",
        "old": "Exchange",
        "why": "ExchangeDone",
        "address": "10.64.0.1",
    }


def test_ospf6_states_are_spelt_as_ospfs() -> None:
    found = adjacency("ospf6d", OSPF6)
    assert found is not None
    assert (found["ifname"], found["neighbor"], found["state"]) == ("r1-eth0", "10.0.0.2", "Exchange")


def test_pim_neighbours_come_and_go() -> None:
    up = adjacency("pimd", "PIM: PIM NEIGHBOR UP: neighbor 10.1.0.2 on interface r1-eth0")
    down = adjacency("pimd", "PIM: PIM NEIGHBOR DOWN: neighbor 10.1.0.2 on interface r1-eth0: holdtime expired")
    assert up is not None and down is not None
    assert (up["state"], up["neighbor"], up["ifname"]) == ("Up", "10.1.0.2", "r1-eth0")
    assert (down["state"], down["ifname"], down["why"]) == ("Down", "r1-eth0", "holdtime expired")


def test_other_lines_are_no_events_and_times_become_monotonic() -> None:
    lines = ["garbage", "2030/01/01 00:00:00.1 OSPF: something else", OSPF]
    events = list(adjacency_events("r2", "ospfd", lines, 1893456000 * 10**9))
    assert [(event["t"], event["node"], event["kind"]) for event in events] == [(10445745000, "r2", "adjacency")]


def test_a_designated_router_is_told_whenever_it_changes() -> None:
    line = (
        "2030/01/01 00:00:10.500000 PIM: [AB1CD-2EF3G] pim_if_dr_election: DR was 10.64.0.1 now is 10.64.0.3"
        " on interface r1-eth0"
    )
    assert list(election_events("r1", ["no stamp", OSPF, line, line.replace("r1-eth0", "lo")], 1893456000 * 10**9)) == [
        {
            "t": 10_500_000_000, "node": "r1", "source": "frr", "kind": "dr",
            "ifname": "r1-eth0", "address": "10.64.0.3",
        }
    ]  # fmt: skip
