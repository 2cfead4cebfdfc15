"""IKE datagrams come out of captures of every form, and no file crashes the readers."""

from __future__ import annotations

import contextlib
import gzip
import io
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.probes import pcapng
from testbed.probes.ike import ike_datagrams
from testbed.probes.pcap import read_frames
from tests.unit.decode import conversation as lab

DATA = bytes(range(40))


def written(path: Path, octets: bytes) -> Path:
    path.write_bytes(octets)
    return path


@pytest.mark.parametrize("form", [lab.pcap, lab.pcapng, lambda packets: lab.pcapng(packets, ">")])
def test_all_forms_give_times_addresses_and_octets(tmp_path: Path, form: object) -> None:
    packets = [lab.ip_udp("10.0.0.1", "10.0.0.2", DATA), lab.ip_udp("fe80::1", "fe80::2", DATA, 500)]
    found = list(ike_datagrams(written(tmp_path / "a", form(packets))))  # type: ignore[operator]
    assert [(each.time_ns, each.source, each.destination) for each in found] == [
        (0, "10.0.0.1:848", "10.0.0.2:848"),
        (1_000_000_000, "[fe80::1]:500", "[fe80::2]:500"),
    ]
    assert {each.data for each in found} == {DATA} and not any(each.cut for each in found)


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_stream_of_pcap_in_any_pieces_becomes_pcapng_with_the_same_packets(size: int, tmp_path: Path) -> None:
    octets = lab.pcap([lab.ip_udp("10.0.0.1", "10.0.0.2", bytes(length)) for length in (1, 2, 3, 4)])
    rewriter = pcapng.Rewriter("r1-eth0")
    made = b"".join(rewriter.take(octets[at : at + size]) for at in range(0, len(octets), size))
    assert made[:4] == pcapng.MAGIC and b"r1-eth0" in made
    assert list(read_frames(written(tmp_path / "b", made))) == list(read_frames(written(tmp_path / "a", octets)))


class Pipe(io.RawIOBase):
    """A file that cannot seek, and gives a few octets at a time only when asked for few."""

    def __init__(self, octets: bytes) -> None:
        self._rest = io.BytesIO(octets)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._rest.read(size)


@pytest.mark.parametrize("form", [lab.pcap, lab.pcapng])
@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_a_pipe_and_compressed_octets_are_captures_too(form: object, packed: object) -> None:
    octets = packed(form([lab.ip_udp("10.0.0.1", "10.0.0.2", DATA)]))  # type: ignore[operator]
    assert [each.data for each in ike_datagrams(Pipe(octets))] == [DATA]  # type: ignore[arg-type]
    cuts: list[str] = []
    list(ike_datagrams(Pipe(octets[:-12]), flaws=cuts))  # type: ignore[arg-type]
    assert len(cuts) == 1 and cuts[0].startswith("truncated ")


def test_compressed_octets_that_are_damaged_are_an_error_and_a_length_without_bound_too() -> None:
    packed = bytearray(gzip.compress(lab.pcap([lab.ip_udp("10.0.0.1", "10.0.0.2", DATA)]), mtime=0))
    packed[12:20] = bytes(8)
    with pytest.raises(ValueError):
        list(ike_datagrams(Pipe(bytes(packed))))  # type: ignore[arg-type]
    endless = lab.pcap([]) + struct.pack("<4I", 0, 0, 0xFFFFFFF0, 0xFFFFFFF0)
    with pytest.raises(ValueError, match="pcap record of 4294967280 octets"):
        list(ike_datagrams(Pipe(endless)))  # type: ignore[arg-type]


def test_on_port_4500_only_what_has_the_marker_is_ike(tmp_path: Path) -> None:
    bodies = [bytes(4) + DATA, b"\0\0\1\1" + DATA, b"\xff"]
    packets = [lab.ip_udp("10.0.0.1", "10.0.0.2", body, 4500) for body in bodies]
    assert [each.data for each in ike_datagrams(written(tmp_path / "a", lab.pcap(packets)))] == [DATA]


def test_padding_of_the_link_and_other_ports_are_left_out_and_a_cut_is_said(tmp_path: Path) -> None:
    whole = lab.ip_udp("10.0.0.1", "10.0.0.2", DATA)
    packets = [whole + bytes(6), lab.ip_udp("10.0.0.1", "10.0.0.2", DATA, 53), whole[:-5]]
    found = list(ike_datagrams(written(tmp_path / "a", lab.pcap(packets))))
    assert [(each.data, each.cut) for each in found] == [(DATA, False), (DATA[:-5], True)]


def test_a_later_ip_fragment_is_not_taken_for_a_datagram(tmp_path: Path) -> None:
    packet = bytearray(lab.ip_udp("10.0.0.1", "10.0.0.2", DATA))
    struct.pack_into("!H", packet, 6, 100)
    assert not list(ike_datagrams(written(tmp_path / "a", lab.pcap([bytes(packet)]))))


def test_a_packet_cut_off_by_a_crash_is_left_out(tmp_path: Path) -> None:
    packet = lab.ip_udp("10.0.0.1", "10.0.0.2", DATA)
    for form in (lab.pcap, lab.pcapng):
        octets = form([packet, packet])
        assert len(list(ike_datagrams(written(tmp_path / "a", octets[:-7])))) == 1


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_file_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    packets = [lab.ip_udp("10.0.0.1", "10.0.0.2", DATA), lab.ip_udp("fe80::1", "fe80::2", DATA)]
    octets = bytearray(data.draw(st.sampled_from([lab.pcap(packets), lab.pcapng(packets), lab.pcapng(packets, ">")])))
    for _ in range(data.draw(st.integers(0, 6))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    del octets[data.draw(st.integers(0, len(octets))) :]
    with contextlib.suppress(ValueError):
        list(ike_datagrams(written(tmp_path / "a", bytes(octets))))
