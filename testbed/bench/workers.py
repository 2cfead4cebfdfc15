"""How handshakes a second grow with the DKS's worker processes, each held to the same share of a processor.

The initiators need processor time too, more than the workers. So that the workers are the narrow place even on two
cores, each gets a small share, and what is measured is whether twice the workers do twice the work: it would not be so
if they waited for each other or for the ledger, or if the port's datagrams were badly divided. Runs as
`testbed.bench.ike`.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agents.gikev2 import notifies
from agents.ikev2 import Payload
from agents.ikev2.registry import PayloadType
from agents.policy.group import GroupState, sign_group_state
from agents.policy.names import GroupId
from testbed.bench.cgroup import held
from testbed.bench.ike import DKS_ADDRESS, PORT, cpu_s, dks, dks_target, loopback_up
from testbed.bench.initiator import HandshakeFailed, Target, crowd
from testbed.bench.ring import NAME, BenchDomain, make
from testbed.probes.processes import table

SHARE = 0.05
INITIATORS, IN_FLIGHT = 2, 12
"""Processes, and handshakes that each has at any time for every worker: enough that hardly a worker waits for work."""
WARM_UP_S = 2.0


@dataclass(frozen=True)
class Row:
    """One measurement. `cpu_ms`: what a handshake cost the workers. `busiest`: the largest part of the work that one
    worker did, times the number of workers: 1 when all did the same."""

    workers: int
    what: str
    handshakes: int
    per_s: float
    cpu_ms: float
    busiest: float


def run(counts: Sequence[int], seconds: float, routers: int) -> dict[str, Any]:
    """All numbers of workers, in turn. HandshakeFailed, EnvironmentFailure."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-workers-") as name:
        for count in counts:
            folder = Path(name) / str(count)
            issued_at = int(time.time()) - 60
            domain = make(routers, DKS_ADDRESS, PORT, folder, issued_at=issued_at, local_key_server=True)
            with (folder / "dks.toml").open("a") as config:
                config.write(f'socket = "dks.sock"\nworkers = {count}\n')
            with dks(folder) as process:
                workers = [each.pid for each in table() if each.parent == process.pid] if count > 1 else [process.pid]
                with held(workers, SHARE):
                    for what, target in targets(domain).items():
                        rows.append(_measure(what, target, workers, seconds))
    return {"rows": [asdict(row) for row in rows], "share": SHARE, "routers": routers}


def targets(domain: BenchDomain) -> dict[str, Target]:
    """What is asked: a router's policy, and a new generation for one of its groups (a number in the ledger, synced)."""

    def own(router: str) -> GroupId:
        return domain.documents[router].own_groups()[0]

    def reports(router: str) -> Sequence[Payload]:
        state = GroupState.of(own(router), domain.documents[router].version, 1, "lks")
        return [notifies.group_report(sign_group_state(state, domain.key(router)))]

    return {
        "GSA_AUTH, policy": dks_target(domain, lambda router: GroupId.control(NAME, router), PayloadType.NOTIFY),
        "GSA_AUTH, keys": dks_target(domain, own, PayloadType.KD, sender=True, extra=reports),
    }


def _measure(what: str, target: Target, workers: Sequence[int], seconds: float) -> Row:
    since = time.monotonic() + WARM_UP_S
    fork = multiprocessing.get_context("fork")
    counts = fork.SimpleQueue()
    in_flight = IN_FLIGHT * len(workers)
    crowds = [
        fork.Process(
            target=lambda first: counts.put(crowd(target, first, in_flight, since, since + seconds)), args=(n,)
        )
        for n in range(0, INITIATORS * 10_000, 10_000)
    ]
    for each in crowds:
        each.start()
    at = []
    for moment in (since, since + seconds):
        time.sleep(max(0.0, moment - time.monotonic()))
        at.append([cpu_s(pid) for pid in workers])
    for each in crowds:
        each.join()
    done = 0 if any(each.exitcode for each in crowds) else sum(counts.get() for _each in crowds)
    if not done:
        raise HandshakeFailed("an initiator has failed, or no handshake came to its end")
    spent = [after - before for before, after in zip(*at, strict=True)]
    per_s, busiest = done / seconds, max(spent) / sum(spent) * len(workers)
    return Row(len(workers), what, done, round(per_s, 1), round(1000 * sum(spent) / done, 3), round(busiest, 2))


def main(arguments: Sequence[str]) -> int:
    """OUTPUT SECONDS ROUTERS WORKERS..."""
    output, seconds, routers = Path(arguments[0]), float(arguments[1]), int(arguments[2])
    loopback_up()
    output.write_text(json.dumps(run([int(each) for each in arguments[3:]], seconds, routers), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
