"""`--ike-log` of running daemons: tshark reads in a capture what only the two ends could."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.ikev2.registry import ExchangeType, PayloadType
from tests.integration.agents_lab import AgentLab, wait_for

pytestmark = pytest.mark.guest


@pytest.fixture
def pair() -> Iterator[AgentLab]:
    lab = AgentLab(("a", "b"))
    yield lab
    lab.close()


def read(capture: Path, keys: Path | None) -> list[tuple[int, set[int]]]:
    """Exchange and types of payloads of each message, by tshark with these keys."""
    words = ["tshark", "-r", str(capture), "-d", "udp.port==848,isakmp", "-T", "fields"]
    words += ["-e", "isakmp.exchangetype", "-e", "isakmp.typepayload", "-Y", "isakmp"]
    for line in keys.read_text().splitlines() if keys is not None else []:
        if not line.startswith("#"):
            words += ["-o", f"uat:ikev2_decryption_table:{line}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found = [line.split("\t") for line in done.stdout.splitlines()]
    return [(int(exchange), {int(each) for each in types.split(",") if each}) for exchange, types in found]


def test_the_file_opens_the_daemons_exchanges_and_is_for_its_owner_only(pair: AgentLab) -> None:
    capture = pair.folder / "a.pcap"
    words = ["tcpdump", "-i", "p-a", "-U", "--immediate-mode", "-Z", "root", "-w", str(capture), "udp", "port", "848"]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as tcpdump:
        assert wait_for(capture.exists, 20)
        for router in pair.routers.values():
            router.start("--ike-log", str(router.folder / "keys"))
        assert wait_for(pair.keyed, 30)
        tcpdump.send_signal(signal.SIGINT)
    keys = pair.routers["a"].folder / "keys"
    assert keys.stat().st_mode & 0o777 == 0o600
    # Each end writes down the same secrets.
    assert set(keys.read_text().split()) == set((pair.routers["b"].folder / "keys").read_text().split())
    opened, shut = read(capture, keys), read(capture, None)
    hidden = {PayloadType.AUTH, PayloadType.IDg, PayloadType.KD}
    assert not any(types & hidden for _exchange, types in shut)
    auth = [types for exchange, types in opened if exchange == ExchangeType.GSA_AUTH]
    assert any(PayloadType.IDg in types for types in auth), "a registration"
    assert any(PayloadType.KD in types for types in auth), "its answer"
    assert all(PayloadType.AUTH in types for types in auth)


def test_without_the_option_no_daemon_writes_keys_down(pair: AgentLab) -> None:
    for router in pair.routers.values():
        router.start()
    assert wait_for(pair.keyed, 30)
    assert not list(pair.folder.rglob("keys"))
