"""tshark and we see the same messages in one capture: exchange types, Message IDs and types of payloads."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agents.decode import Decoder, KeyFile
from tests.unit.decode import conversation as lab

pytestmark = pytest.mark.guest


def test_tshark_sees_the_same_exchanges_message_ids_and_payloads(tmp_path: Path) -> None:
    talk = lab.Conversation(max_datagram=1232)
    (tmp_path / "a.pcap").write_bytes(lab.pcap(lab.packets_of(talk.datagrams)))
    words = ["tshark", "-r", str(tmp_path / "a.pcap"), "-d", "udp.port==848,isakmp", "-T", "fields"]
    for name in ("exchangetype", "messageid", "typepayload"):
        words += ["-e", f"isakmp.{name}"]
    for line in talk.key_lines:
        if not line.startswith("#"):
            words += ["-o", f"uat:ikev2_decryption_table:{line}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    theirs = [line.split("\t") for line in done.stdout.splitlines()]
    decoder = Decoder(KeyFile(talk.key_lines))
    ours = [decoder.message(data) for _name, data in talk.datagrams]
    assert len(theirs) == len(ours)
    for fields, message in zip(theirs, ours, strict=True):
        assert message.header is not None
        assert (int(fields[0]), int(fields[1], 0)) == (message.header.exchange, message.header.message_id)
        if message.fragment is None:
            types = [int(each) for each in fields[2].split(",")]
            seen = [each for each in types if each >= 33]  # tshark lists proposals and transforms by the same field
            assert seen == list(message.payload_types)
