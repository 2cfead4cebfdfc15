"""The same storm in guests and computed: the DKS is asked the same, and routers are keyed at the same time."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

from agents.ikev2.codec.header import parse_header
from agents.ikev2.registry import ExchangeType, PayloadType
from testbed.analysis.run import Run
from testbed.probes.ike import ike_datagrams
from testbed.setup.paths import PROJECT
from testbed.storm.against import compare

SOON = 'policy={"reconnect": {"first_min_s": 60, "first_max_s": 90}}'
"""So that every router has been at the DKS when the record ends."""
REPEAT_S = 3.0
"""A datagram that finds no DKS yet is lost in one and waits for its address in the other: one wait of the router's
longest for a repeat is what they may be apart by."""


def fragments(run: Run) -> dict[bytes, int]:
    """Of each GSA_AUTH request that passed the DKS's wire since the power returned, by SPI, how many fragments it came
    in: each of them once, and as many as it says of itself."""
    found: dict[bytes, list[tuple[int, int]]] = {}
    since = run.mark("power_returns")
    for each in ike_datagrams(run.folder / "pcap" / f"{run.plan.topology.dks.interface}.pcap"):
        header = parse_header(each.data)
        if each.time_ns >= since and header.exchange == ExchangeType.GSA_AUTH and not header.is_response:
            whole = header.next_payload != PayloadType.SKF
            part = (1, 1) if whole else struct.unpack_from("!HH", each.data, 28 + 4)
            found.setdefault(header.spi_i, []).append(part)
    assert all(parts == [(number, len(parts)) for number in range(1, len(parts) + 1)] for parts in found.values())
    return {spi: len(parts) for spi, parts in found.items()}


def test_guest_and_computed_routers_ask_the_dks_the_same(tmp_path: Path) -> None:
    words = ["run", "recovery_storm", "--topology", "ring:4", "--keying", "central-mgmt,lks", "--seed", "5", "-o", SOON]
    argv = [sys.executable, "-m", "testbed.cli", *words, "--out", str(tmp_path)]
    done = subprocess.run(argv, cwd=PROJECT, text=True, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    runs = {run.plan.keying: run for run in map(Run, sorted((tmp_path / "runs").iterdir()))}

    guest, computed = compare(runs["central-mgmt"])
    assert guest.asked == computed.asked
    assert guest.asked["GSA_REGISTRATION"] == 32  # OSPF's and PIM's groups
    assert guest.keyed_s.keys() == computed.keyed_s.keys()
    assert all(abs(guest.keyed_s[name] - computed.keyed_s[name]) <= REPEAT_S for name in guest.keyed_s)

    guest, computed = compare(runs["lks"])
    assert guest.asked["IKE_SA_INIT"] == computed.asked["IKE_SA_INIT"] == computed.asked["GSA_AUTH"] == 4
    # The DKS counts datagrams of at most 1,232 octets (RFC 7383). What a router shows here, the states of its groups
    # and its confirmation, is a little less when it is computed, and a little more with the guest's longer names of
    # interfaces and domain, and the date.
    sent = fragments(runs["lks"])
    assert len(sent) == 4 and len(set(sent.values())) == 1, "one message of each router, in as many fragments each"
    assert guest.asked["GSA_AUTH"] == sum(sent.values())
    assert min(*guest.times_s, *computed.times_s) > 60
    assert all(abs(guest.keyed_s[name] - computed.keyed_s[name]) <= 0.1 for name in guest.keyed_s)
