"""Every number of a summary is compared; what the machine decides is not."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from testbed.analysis.equal_numbers import numbers, records
from testbed.errors import InputError
from testbed.runner import reproduce

SUMMARY: dict[str, Any] = {
    "experiment": "storm",
    "routers": 4,
    "ok": True,
    "command": "./lab run storm",
    "criteria": [{"keying": "lks", "text": "at most 1.10", "value": "1.02", "ok": True}],
    "findings": ["lks: 3 requests"],
    "keyings": {"lks": {"convergence_s": {"median": 1.5, "values": [1.5, None]}}},
    "runs": [
        {"keying": "lks", "seed": 1, "status": "done", "wall_s": 9.5, "virtual_s": 300.0, "folder": "runs/x"},
    ],
    "provenance": {"records": {"lks-1": "aa", "lks-2": "bb"}},
}


def changed(*path: Any, to: Any) -> dict[str, Any]:
    other = copy.deepcopy(SUMMARY)
    node = other
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = to
    return other


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("routers",), 5),
        (("keyings", "lks", "convergence_s", "median"), 1.5000001),
        (("keyings", "lks", "convergence_s", "values"), [1.5, 2.0]),
        (("keyings", "lks", "convergence_s", "values"), [1.5]),
        (("criteria", 0, "value"), "1.03"),
        (("findings", 0), "lks: 4 requests"),
        (("runs", 0, "virtual_s"), 301.0),
        (("ok",), 1),
    ],
)
def test_a_number_that_is_not_the_same_is_found(path: tuple[Any, ...], to: Any) -> None:
    assert sum(not each.same for each in numbers(SUMMARY, changed(*path, to=to))) >= 1


@pytest.mark.parametrize(("path", "to"), [(("runs", 0, "wall_s"), 3.0), (("command",), "./lab run other")])
def test_what_the_machine_decides_is_no_number(path: tuple[Any, ...], to: Any) -> None:
    found = numbers(SUMMARY, changed(*path, to=to))
    assert len(found) > 8 and all(each.same for each in found)


def test_records_are_counted_apart() -> None:
    found = records(SUMMARY, changed("provenance", "records", "lks-2", to="zz"))
    assert [each.same for each in found] == [True, False]


def test_reference_results_name_the_command_that_made_them(tmp_path: Path) -> None:
    (tmp_path / "storm").mkdir()
    file = tmp_path / "storm" / "summary.json"
    file.write_text(json.dumps(SUMMARY))
    (found,) = reproduce.recorded((), tmp_path, []).values()
    assert found.items() >= SUMMARY.items()
    with pytest.raises(InputError, match="no reference results 'other'"):
        reproduce.recorded(("other",), tmp_path, [])
    file.write_text(json.dumps({**SUMMARY, "command": "rm -r x"}))
    with pytest.raises(InputError, match="its command is 'rm -r x'"):
        reproduce.recorded((), tmp_path, [])
