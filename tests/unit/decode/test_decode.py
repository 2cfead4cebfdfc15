"""The decoder shows what was said, says what it cannot open, and takes any octets."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.decode import Decoder, KeyFile, KeyFileError, Message
from agents.decode.messages import Protection
from agents.decode.text import lines
from agents.ikev2.codec.header import Header, encode_header
from agents.ikev2.keylog import KeyWrapEntry, parse_line
from tests.unit.decode import conversation as lab

TALK = lab.Conversation()


def decoded(keys: KeyFile | None = None, show_keys: bool = False) -> list[Message]:
    decoder = Decoder(KeyFile(TALK.key_lines) if keys is None else keys, show_keys=show_keys)
    return [decoder.message(data) for _name, data in TALK.datagrams]


def whole(messages: list[Message], exchange: str, response: bool) -> dict[str, dict[str, object]]:
    """The payloads of the one whole message of this kind by name; notifications by theirs."""
    (found,) = [
        each.as_json()
        for each in messages
        if each.protection is not Protection.FRAGMENT
        and (each.as_json()["exchange"], each.as_json()["response"]) == (exchange, response)
    ]
    assert "problem" not in found
    return {str(each.get("notification", each["payload"])): each for each in found["payloads"]}


def test_a_registration_is_put_together_from_fragments_and_read() -> None:
    messages = decoded()
    assert sum(each.protection is Protection.FRAGMENT for each in messages) >= 3
    request, answer = whole(messages, "GSA_AUTH", False), whole(messages, "GSA_AUTH", True)
    assert (request["IDi"]["id"], request["IDg"]["id"]) == ("example/r2", "example/r1/r1-eth0/ospf")
    assert request["AUTH"]["algorithm"] == "Ed25519" and "ENCR=AES_CBC/128" in str(request["SA"])
    policies, keys = answer["GSA"]["policies"], TALK.keys[0].for_member("r2")
    assert [each["spi"] for each in policies] == [f"{sa.spi:08x}" for sa in keys.sas]  # type: ignore[union-attr,index]
    first = policies[0]  # type: ignore[index]
    assert first["source"] == "10.1.0.1 protocol 89" and first["protocol"] == "ESP"
    assert first["destination"] == f"{keys.sas[0].destination} protocol 89"
    assert first["lifetime_s"] == keys.sas[0].lifetime_s
    assert answer["GSA"]["group_wide_policy"] == {"activation_delay_s": keys.atd_s, "deactivation_delay_s": keys.dtd_s}
    assert answer["RECONNECT_HINT"]["seconds"] == 7
    assert answer["GROUP_STATE"]["says"]["g"] == 1  # type: ignore[index]
    assert answer["POLICY_DOCUMENT"]["says"]["router"] == "r2"  # type: ignore[index]


def test_keys_are_lengths_until_they_are_asked_for() -> None:
    keymat = TALK.keys[0].sas[0].keymat.hex()
    hidden, shown = decoded(), decoded(show_keys=True)
    assert keymat not in json.dumps([each.as_json() for each in hidden])
    bag = whole(shown, "GSA_AUTH", True)["KD"]["group_key_bags"][0]  # type: ignore[index]
    assert bag["keys"][0]["key"] == keymat
    assert "wrapped" not in str(whole(hidden, "GSA_AUTH", True)["KD"]).replace("wrapped_octets", "")


def test_a_rekey_of_the_group_is_read_with_the_rekey_sas_line() -> None:
    rekey = whole(decoded(show_keys=True), "GSA_REKEY", False)
    assert rekey["GROUP_STATE"]["says"]["g"] == 2  # type: ignore[index]
    assert rekey["KD"]["group_key_bags"][0]["keys"][0]["key"] == TALK.keys[1].sas[0].keymat.hex()  # type: ignore[index]


def test_missing_and_wrong_keys_are_said_for_each_sa() -> None:
    nothing = Decoder()
    (line, *_rest) = TALK.key_lines
    wrong = line.replace(line.split(",")[2], "00" * 36)
    half = Decoder(KeyFile([wrong]))
    for _name, data in TALK.datagrams:
        nothing.message(data)
        half.message(data)
    assert [report.counts[Protection.NO_KEYS] > 0 for report in nothing.reports()] == [True, True]
    first, rekey = half.reports()
    assert first.counts[Protection.WRONG_KEYS] and first.counts[Protection.FRAGMENT]
    assert "the keys for this SA do not open it" in first.line()
    assert rekey.line().endswith("1 not: no keys for this SA")


def test_a_repeated_datagram_is_marked() -> None:
    decoder, (_name, data) = Decoder(), TALK.datagrams[0]
    assert [decoder.message(data).retransmitted for _ in range(2)] == [False, True]


def test_text_names_every_payload_and_holds_no_key() -> None:
    text = "\n".join(line for each in decoded() for line in lines(each, "a:848", "b:848", 1.5))
    for word in ("IKE_SA_INIT request", "GSA_AUTH response", "GSA_INBAND_REKEY", "GSA (51)", "KD (52)", "IDg (50)",
                 "lifetime_s", "activation_delay_s", "USE_TRANSPORT_MODE", "fragment 1 of"):  # fmt: skip
        assert word in text
    assert not any(sa.keymat.hex()[:32] in text for keys in TALK.keys for sa in keys.sas)


def test_a_message_cannot_write_to_the_terminal() -> None:
    body = b"\x0b\0\0\0\x1b[2Jroot"
    data = encode_header(Header(b"1" * 8, bytes(8), 35, 34, 8, 0), 28 + 4 + len(body)) + bytes((0, 0, 0, 4 + len(body)))
    text = "\n".join(lines(Decoder().message(data + body), "a", "b", 0.0))
    assert "\x1b" not in text and b"\x1b[2Jroot".hex() in text


def test_what_precedes_a_broken_payload_is_shown() -> None:
    nonce = bytes((43, 0, 0, 20)) + bytes(16)
    data = encode_header(Header(b"1" * 8, bytes(8), 40, 34, 8, 0), 28 + 20 + 4) + nonce + bytes((0, 0, 0, 99))
    message = Decoder().message(data)
    assert [each["payload"] for each in message.payloads] == ["NONCE"] and "does not fit" in str(message.problem)


@given(st.binary(max_size=400))
def test_any_octets_are_taken(data: bytes) -> None:
    message = Decoder(KeyFile(TALK.key_lines)).message(data)
    assert json.dumps(message.as_json()) and list(lines(message, "a", "b", 0.0))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_changed_conversation_is_taken(data: st.DataObject) -> None:
    decoder = Decoder(KeyFile(TALK.key_lines), show_keys=True)
    for _ in range(3):
        octets = bytearray(data.draw(st.sampled_from(TALK.datagrams))[1])
        for _ in range(data.draw(st.integers(0, 4))):
            octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
        message = decoder.message(bytes(octets))
        assert json.dumps(message.as_json(), allow_nan=False) and list(lines(message, "a", "b", 0.0))


@settings(max_examples=400, deadline=None)
@given(st.integers(33, 54) | st.integers(0, 255), st.binary(max_size=200))
def test_any_payload_body_is_described(kind: int, body: bytes) -> None:
    from agents.decode.payloads import Secrets, describe

    assert json.dumps(describe(kind, body, Secrets(True, [bytes(32)])))


@given(st.integers(16384, 16450) | st.integers(40955, 41000), st.binary(max_size=120))
def test_any_notification_is_described(kind: int, data: bytes) -> None:
    from agents.decode.notifications import fields

    assert json.dumps(fields(kind, data)) is not None


def test_the_key_file_is_checked_line_by_line() -> None:
    good = TALK.key_lines[0]
    for bad, problem in ((good[:-30], "fields|algorithm"), (good.replace("AES-GCM-256", "AES-GCM-999"), "algorithm"),
                         (good.replace(",", ",zz", 1), "hex"), ("x" * 5000, "long")):  # fmt: skip
        with pytest.raises(KeyFileError, match=problem) as caught:
            KeyFile(["# a comment", "", good, bad])
        assert caught.value.line == 4
    with pytest.raises(KeyFileError, match="key length"):
        KeyFile([good.replace(good.split(",")[2], "00" * 35)])


@given(st.text(max_size=200))
def test_any_line_is_a_line_or_a_clear_error(line: str) -> None:
    try:
        KeyFile([line])
    except KeyFileError as error:
        assert error.line == 1


def test_a_key_wrap_line_is_a_comment_to_others_and_read_back_by_us() -> None:
    entry = KeyWrapEntry(bytes(range(8)), bytes(8), bytes(range(32)))
    assert entry.line().startswith("#") and parse_line(entry.line()) == entry and "1f" not in repr(entry)


def lab_decode(*words: str | Path, given: bytes = b"") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "testbed.cli", "decode", *map(str, words)]
    done = subprocess.run(command, capture_output=True, input=given, env=os.environ | {"COLUMNS": "200"}, check=False)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_the_verb_reads_a_capture_and_a_key_file(tmp_path: Path) -> None:
    (tmp_path / "a.pcapng").write_bytes(lab.pcapng(lab.packets_of(TALK.datagrams)))
    (tmp_path / "keys").write_text("\n".join(TALK.key_lines) + "\n")
    done = lab_decode(tmp_path / "a.pcapng", "--keys", tmp_path / "keys", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["messages"]) == len(TALK.datagrams)
    assert found["messages"][0]["source"] == "10.1.0.2:848"
    assert found["messages"][-1]["exchange"] == "GSA_REKEY" and found["messages"][-1]["protection"] == "decrypted"
    text = lab_decode(tmp_path / "a.pcapng")
    assert text.returncode == 0 and "no keys for this SA" in text.stdout


def test_the_verb_reads_standard_input_and_compressed_captures(tmp_path: Path) -> None:
    capture = lab.pcapng(lab.packets_of(TALK.datagrams))
    (tmp_path / "a.pcap.gz").write_bytes(gzip.compress(capture))
    plain = lab_decode("-", given=capture)
    assert (plain.returncode, plain.stderr) == (0, "")
    assert "GSA_AUTH" in plain.stdout
    assert lab_decode(tmp_path / "a.pcap.gz").stdout == lab_decode("-", given=gzip.compress(capture)).stdout
    assert lab_decode(tmp_path / "a.pcap.gz").stdout == plain.stdout
    nothing = lab_decode("-")
    assert nothing.returncode == 2 and nothing.stderr.startswith("lab: -: not a pcap or pcapng file\n")


def test_the_verb_says_what_is_wrong_with_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(b"nothing of the kind, but long enough")
    (tmp_path / "keys").write_text("# fine\nbad\n")
    wrong = lab_decode(tmp_path / "a.pcap")
    assert wrong.returncode == 2 and "not a pcap" in wrong.stderr
    keys = lab_decode(tmp_path / "a.pcap", "--keys", tmp_path / "keys")
    assert keys.returncode == 2 and "keys:2" in keys.stderr
    assert lab_decode(tmp_path / "none.pcap").returncode == 2
