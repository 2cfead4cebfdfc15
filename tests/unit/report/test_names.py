"""How the rows of a timeline are called."""

from __future__ import annotations

from testbed.report.timeline import _name, _row


def test_rows_of_links_side_by_side_have_their_numbers_and_a_lan_its_name() -> None:
    rows = [
        _row("r10", "r2", "r10--r2"),
        _row("r2", "r10", "r10--r2#2"),
        _row("r2", "r10", "office"),
        _row("r2", "r3", "r2--r3"),
        _row("r3", "r4", "hall"),
    ]
    assert [_name(row, rows) for row in rows] == ["r2 – r10", "r2 – r10 #2", "r2 – r10 (office)", "r2 – r3", "r3 – r4"]


def test_two_long_names_stand_one_above_the_other() -> None:
    row = _row("core-ams-01.backbone.example.net", "edge.nyc.example", "any")
    assert _name(row, [row]) == "core-ams-01.backbone.example.net –\nedge.nyc.example"
