"""Two runs are compared byte by byte, and the first difference is named with its place."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from testbed.analysis.first_difference import differences
from testbed.errors import InputError

HEAD = struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)


def written(folder: Path, lines: list[dict[str, object]], frames: list[tuple[int, bytes]]) -> Path:
    """A run folder with a record and one capture; frames are (ns, bytes)."""
    (folder / "pcap").mkdir(parents=True)
    (folder / "record.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    body = b"".join(struct.pack("=IIII", t // 10**9, t % 10**9, len(data), len(data)) + data for t, data in frames)
    (folder / "pcap" / "r1-eth0.pcap").write_bytes(HEAD + body)
    return folder


LINES: list[dict[str, object]] = [{"t": 5, "node": "r1"}, {"t": 2_500_000_000, "node": "r2"}]
FRAMES = [(1_000_000_000, b"one"), (2_000_000_000, b"two")]


def test_the_same_bytes_have_no_difference(tmp_path: Path) -> None:
    one, other = (written(tmp_path / name, LINES, FRAMES) for name in "ab")
    assert differences(one, other) == []


def test_a_record_differs_at_a_line_a_time_and_an_event(tmp_path: Path) -> None:
    one = written(tmp_path / "a", LINES, FRAMES)
    (found,) = differences(one, written(tmp_path / "b", [LINES[0], {**LINES[1], "node": "r9"}], FRAMES))
    assert (found.file, found.number, found.time_s) == ("record.jsonl", 2, 2.5)
    assert '"r2"' in found.first and '"r9"' in found.second
    (cut,) = differences(one, written(tmp_path / "c", LINES[:1], FRAMES))
    assert (cut.number, cut.second) == (2, "(no more lines)")


def test_a_capture_differs_at_a_frame_and_a_time(tmp_path: Path) -> None:
    one = written(tmp_path / "a", LINES, FRAMES)
    (found,) = differences(one, written(tmp_path / "b", LINES, [FRAMES[0], (2_000_000_000, b"TWO")]))
    assert (found.file, found.number, found.time_s) == ("pcap/r1-eth0.pcap", 2, 2.0)
    (late,) = differences(one, written(tmp_path / "c", LINES, [FRAMES[0], (2_000_000_001, b"two")]))
    assert late.number == 2
    (cut,) = differences(one, written(tmp_path / "d", LINES, FRAMES[:1]))
    assert cut.second == "(no more frames)"


def test_bytes_after_the_last_whole_frame_are_a_difference_too(tmp_path: Path) -> None:
    one, other = (written(tmp_path / name, LINES, FRAMES) for name in "ab")
    with (other / "pcap" / "r1-eth0.pcap").open("ab") as file:
        file.write(b"rest")
    assert len(differences(one, other)) == 1


def test_a_capture_that_only_one_run_has_is_a_difference(tmp_path: Path) -> None:
    one, other = (written(tmp_path / name, LINES, FRAMES) for name in "ab")
    (other / "pcap" / "r1-eth0.pcap").unlink()
    (found,) = differences(one, other)
    assert (found.first, found.second) == ("captured", "not captured")


def test_a_folder_without_a_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the record is missing"):
        differences(written(tmp_path / "a", LINES, FRAMES), tmp_path)
