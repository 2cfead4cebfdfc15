"""The same storm in guests and computed: the DKS is asked the same, and routers are keyed at the same time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from testbed.analysis.run import Run
from testbed.setup.paths import PROJECT
from testbed.storm.against import compare

SOON = 'policy={"reconnect": {"first_min_s": 60, "first_max_s": 90}}'
"""So that every router has been at the DKS when the record ends."""
REPEAT_S = 3.0
"""A datagram that finds no DKS yet is lost in one and waits for its address in the other: one wait of the router's
longest for a repeat is what they may be apart by."""


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
    assert guest.asked["GSA_AUTH"] in (4, 8)  # datagrams: a router of the guest may need two for what it shows
    assert min(*guest.times_s, *computed.times_s) > 60
    assert all(abs(guest.keyed_s[name] - computed.keyed_s[name]) <= 0.1 for name in guest.keyed_s)
