"""Handshakes a second, and what they cost the responder: our DKS beside strongSwan's charon, asked by one initiator.

Runs as root in the guest tree, in a network namespace of its own, and writes its figures as JSON to the file that is
named on its command line. Times are of the real clock.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from agents.gikev2 import GroupMember
from agents.ikev2 import Identification, LocalIdentity, NotifyPayload, Payload
from agents.ikev2.registry import ExchangeType, PayloadType
from agents.policy.names import GroupId, party_id
from agents.runtime.control import CommandRefused, ask
from testbed.bench.cgroup import held
from testbed.bench.charon import Charon
from testbed.bench.initiator import HandshakeFailed, Initiator, Target, crowd
from testbed.bench.ring import DKS, NAME, SEED, BenchDomain, make
from testbed.domains.keys import laboratory_key
from testbed.errors import EnvironmentFailure
from testbed.probes.cpu import cpu_ns

DKS_ADDRESS, CHARON_ADDRESS, PORT = "127.0.0.3", "127.0.0.2", 848
WARM_UP = 20
START_S = 60.0
SHARE = 0.1
"""Of a processor, that a responder has which is to be the narrow place."""
IN_FLIGHT = 8
SOURCES = [f"127.0.1.{number}" for number in range(1, IN_FLIGHT + 1)]
NARROW_WARM_UP_S = 0.5


@dataclass(frozen=True)
class Row:
    """One measurement. `cpu_ms`: what a handshake cost the responder, user and system time."""

    responder: str
    what: str
    initiators: int
    handshakes: int
    per_s: float
    cpu_ms: float


def cpu_s(pid: int) -> float:
    """User and system time of a process and its threads so far, in seconds. EnvironmentFailure when it has ended."""
    used_ns = cpu_ns(pid)
    if used_ns is None:
        raise EnvironmentFailure(f"process {pid} has ended")
    return used_ns / 1e9


def resident_kib(pid: int) -> int:
    """The resident set of a process, in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise EnvironmentFailure(f"process {pid} has ended")


def measure(name: str, what: str, pid: int, target: Target, handshakes: int, initiators: int) -> Row:
    """So many handshakes by so many processes at once, each one after the other. HandshakeFailed."""
    _handshakes(target, range(WARM_UP))
    share = handshakes // initiators
    before, began = cpu_s(pid), time.monotonic()
    if initiators == 1:
        _handshakes(target, range(share))
    else:
        fork = multiprocessing.get_context("fork")
        work = [
            fork.Process(target=_handshakes, args=(target, range(number * share, (number + 1) * share)))
            for number in range(initiators)
        ]
        for each in work:
            each.start()
        for each in work:
            each.join()
        if any(each.exitcode for each in work):
            raise HandshakeFailed("an initiator has failed")
    took = time.monotonic() - began
    spent = cpu_s(pid) - before
    done = share * initiators
    return Row(name, what, initiators, done, round(done / took, 1), round(1000 * spent / done, 3))


def narrow(name: str, what: str, pid: int, target: Target, seconds: float) -> Row:
    """As many handshakes as the responder can do with a share of a processor: what the initiator takes does not count.
    HandshakeFailed, EnvironmentFailure."""
    with held([pid], SHARE):
        since = time.monotonic() + NARROW_WARM_UP_S
        before = cpu_s(pid)
        done = crowd(target, 0, IN_FLIGHT, since, since + seconds, SOURCES)
        spent = cpu_s(pid) - before
    if not done:
        raise HandshakeFailed("no handshake was completed")
    each_s = spent * seconds / (seconds + NARROW_WARM_UP_S) / done
    return Row(name, what, IN_FLIGHT, done, round(done / seconds, 1), round(1000 * each_s, 3))


def _handshakes(target: Target, numbers: Sequence[int]) -> None:
    initiator = Initiator(target)
    try:
        for number in numbers:
            initiator.handshake(number)
    finally:
        initiator.close()


# -- the responders ---------------------------------------------------------------------------------------------------


@contextmanager
def dks(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The `dks` daemon with the files in this folder. EnvironmentFailure when it does not come up."""
    socket = folder / "dks.sock"
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "agents.dks", "run", "--config", str(folder / "dks.toml")],
            stdout=output,
            stderr=output,
        )
    try:
        end = time.monotonic() + START_S
        while True:
            if process.poll() is not None or time.monotonic() > end:
                raise EnvironmentFailure(f"the DKS does not start: {(folder / 'output').read_text().strip()}")
            try:
                workers = ask(socket, "status").get("workers", {"serving": 1, "of": 1})
                if workers["serving"] == workers["of"]:
                    break
            except (OSError, ValueError, CommandRefused):
                pass  # not there yet
            time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _router(domain: BenchDomain, number: int) -> str:
    names = list(domain.documents)
    return names[number % len(names)]


def dks_target(
    domain: BenchDomain,
    group: Callable[[str], GroupId],
    wanted: PayloadType,
    *,
    sender: bool = False,
    extra: Callable[[str], Sequence[Payload]] = lambda _router: (),
) -> Target:
    """Registrations of the domain's routers, each at the group that `group` names for it, with what `extra` adds."""
    identities = {
        name: LocalIdentity(Identification.key_id(party_id(NAME, name)), domain.key(name)) for name in domain.documents
    }
    suite = next(iter(domain.documents.values())).suite
    member = GroupMember((suite,), lambda _group, _issuer: None, lambda _state: None)

    def _request(router: str) -> list[Payload]:
        return member.request(group(router), sender=sender, extra=extra(router))

    def answered(payloads: Sequence[Payload]) -> bool:
        refused = any(isinstance(each, NotifyPayload) and each.is_error for each in payloads)
        return not refused and any(each.payload_type == wanted for each in payloads)

    return Target(
        address=(DKS_ADDRESS, PORT),
        name=Identification.key_id(party_id(NAME, DKS)),
        key=laboratory_key(SEED, DKS).public_key(),
        auth_exchange=ExchangeType.GSA_AUTH,
        identity=lambda number: identities[_router(domain, number)],
        first=lambda number: _request(_router(domain, number)),
        answered=answered,
    )


def _control(router: str) -> GroupId:
    return GroupId.control(NAME, router)


def _heard(domain: BenchDomain) -> Callable[[str], GroupId]:
    """The first group of a neighbour that a router hears."""
    return lambda router: domain.documents[router].neighbor_groups()[0][2]


def charon_target() -> Target:
    """IKE_AUTH without a Child SA."""
    us = LocalIdentity(Identification.fqdn("us.example"), laboratory_key(SEED, "us"))
    return Target(
        address=(CHARON_ADDRESS, 500),
        name=Identification.fqdn("charon.example"),
        key=laboratory_key(SEED, "charon").public_key(),
        auth_exchange=ExchangeType.IKE_AUTH,
        identity=lambda _number: us,
    )


# -- the whole --------------------------------------------------------------------------------------------------------


def run(handshakes: int, routers: int, seconds: float) -> dict[str, object]:
    """All measurements, responders alternately; HandshakeFailed, EnvironmentFailure. `seconds`: how long each responder
    is the narrow place; 0 where processes cannot be held to a share of a processor."""
    rows: list[Row] = []
    held_rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-ike-") as name:
        folder = Path(name)
        domain = make(routers, DKS_ADDRESS, PORT, folder / "dks", issued_at=int(time.time()) - 60)
        with (folder / "dks" / "dks.toml").open("a") as config:
            config.write('socket = "dks.sock"\n')
        policy = dks_target(domain, _control, PayloadType.NOTIFY)
        keys = dks_target(domain, _heard(domain), PayloadType.KD)
        charon = Charon(
            _made(folder / "charon"), CHARON_ADDRESS, laboratory_key(SEED, "charon"), laboratory_key(SEED, "us")
        )
        try:
            with dks(folder / "dks") as process:
                before = resident_kib(process.pid)
                _handshakes(policy, range(routers))
                memory = resident_kib(process.pid) - before
                if len(ask(folder / "dks" / "dks.sock", "status")["connected"]) != routers:
                    raise EnvironmentFailure("not every router is registered at the DKS")
                responders = (
                    ("charon", "IKE_AUTH", charon.pid, charon_target()),
                    ("dks", "GSA_AUTH, policy", process.pid, policy),
                    ("dks", "GSA_AUTH, keys", process.pid, keys),
                )
                # First, while no group has keys yet: each registration for keys makes some, and writes in the ledger.
                held_rows = [narrow(*each, seconds) for each in responders] if seconds else []
                for initiators in (1, 2):
                    rows += [measure(*each, handshakes, initiators) for each in responders]
        finally:
            charon.stop()
    return {
        "rows": [asdict(row) for row in rows],
        "narrow": [asdict(row) for row in held_rows],
        "share": SHARE,
        "memory_kib_per_1000_routers": round(1000 * memory / routers),
        "routers": routers,
        "cpus": os.cpu_count(),
    }


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def loopback_up() -> None:
    """In the new network namespace it is down."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def main(arguments: Sequence[str]) -> int:
    """OUTPUT HANDSHAKES ROUTERS SECONDS."""
    output, handshakes, routers, seconds = Path(arguments[0]), *map(int, arguments[1:3]), float(arguments[3])
    loopback_up()
    output.write_text(json.dumps(run(handshakes, routers, seconds), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
