"""The verbs `validate` and `topology` as a person types them."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from testbed.cli import topology, validate
from testbed.cli.topology import _interfaces, _segments
from testbed.errors import InputError
from testbed.topology.draw import draw
from testbed.topology.load import library, load
from testbed.topology.resolved import Topology
from testbed.topology.schema import schema_text


def lab(*words: str) -> Result:
    app = typer.Typer()
    validate.register(app)
    topology.register(app)
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def bad(tmp_path: Path) -> str:
    (tmp_path / "bad.yaml").write_text("ospf: {hello: 10, dead: 5}\nlinks:\n  - {between: [a, b], delay: x}\n")
    return str(tmp_path / "bad.yaml")


def test_sound_topologies_are_summed_up_and_the_exit_code_is_0() -> None:
    done = lab("validate", "ring:4", "abilene")
    assert done.exit_code == 0
    assert "ring:4: 4 routers, 4 links and LANs, DKS at r1" in done.output
    assert "abilene: 11 routers, 14 links and LANs, DKS at kansas" in done.output


def test_one_bad_topology_among_sound_ones_gives_its_errors_and_exit_code_2(bad: str) -> None:
    done = lab("validate", "ring:4", bad, "lan:3")
    assert done.exit_code == 2
    assert "ring:4: 4 routers" in done.output and "lan:3: 3 routers, 1 link or LAN" in done.output
    assert f"{bad}:1:19: dead 5 s" in done.output and f"{bad}:3:23: links.0.delay" in done.output


def test_programs_get_file_line_column_and_the_next_command(bad: str) -> None:
    done = lab("validate", "ring:4", bad, "nowhere", "--json")
    assert done.exit_code == 2
    good, wrong, absent = json.loads(done.stdout)
    why = good.pop("rendezvous_point_why")
    assert why == "it is the most central router: OSPF costs from all others to it add up to 40"
    assert good == {
        "topology": "ring:4", "ok": True, "routers": 4, "segments": 4, "rendezvous_point": "r1", "warnings": []
    }  # fmt: skip
    assert [(error["file"], error["line"], error["column"]) for error in wrong["errors"]] == [
        (bad, 1, 19),
        (bad, 3, 23),
    ]
    assert all(error["problem"] and error["allowed"] and error["next_command"] for error in wrong["errors"])
    assert absent["errors"][0]["line"] is None and absent["errors"][0]["next_command"] == "lab topology list"


def test_show_has_every_interface_and_its_json_is_the_resolved_topology() -> None:
    told = lab("topology", "show", "areas")
    found = load("areas")
    for router in found.routers.values():
        for interface in router.interfaces:
            assert interface.name in told.output and str(interface.ipv4) in told.output
    assert Topology.model_validate_json(lab("topology", "show", "areas", "--json").stdout) == found


def test_tables_of_long_names_cut_nothing_off_at_80_columns(tmp_path: Path) -> None:
    one, other = "core-ams-01.example_net." + "x" * 39, "edge.nyc.example"
    (tmp_path / "long.yaml").write_text(f"links: [{{between: [{one}, {other}], cost: 7}}, {other}--r3]\n")
    topology = load(str(tmp_path / "long.yaml"))
    table, common = _interfaces(topology)
    assert common == "every interface: MTU 1500, area 0.0.0.0"
    shown = Console(width=80, file=StringIO(), highlight=False)
    shown.print(table, _segments(topology))
    lines = shown.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 80 and not any("…" in line for line in lines)
    column = "".join(line.split("│")[1].strip() for line in lines if line.startswith("│"))
    assert f"{one}10.0.0.1" in column and f"{other}10.0.0.2" in column


def test_list_names_the_library_and_the_generators() -> None:
    told = json.loads(lab("topology", "list", "--json").stdout)
    assert [each["name"] for each in told["topologies"]] == library()
    assert "ring:N" in told["generators"]
    assert all(name in lab("topology", "list").output for name in [*library(), "waxman:N:seed=S"])


def test_schema_prints_the_schema() -> None:
    assert lab("topology", "schema").stdout == schema_text()


@pytest.mark.parametrize("spec", ["abilene", "lan", "ring:3"])
def test_a_drawing_is_the_same_each_time(spec: str, tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        assert lab("topology", "draw", spec, "-o", str(tmp_path / name)).exit_code == 0
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (tmp_path / "one.svg").stat().st_size > 5000


def test_a_drawing_may_be_a_png_in_capitals(tmp_path: Path) -> None:
    draw(load("lan"), tmp_path / "LAN.PNG")
    assert (tmp_path / "LAN.PNG").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["drawing.txt", "drawing", "absent/drawing.svg"])
def test_a_drawing_that_cannot_be_written_is_an_error_of_the_input(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        draw(load("ring:3"), tmp_path / name)


def test_a_warning_is_told_beside_the_summary_and_the_exit_code_stays_0(tmp_path: Path) -> None:
    odd = tmp_path / "odd.yaml"
    odd.write_text("links:\n  - {between: [a, b], mtu: [1400, 1500], delay: 5ms, jitter: 2ms}\n  - b-c\n")
    done = lab("validate", str(odd))
    assert done.exit_code == 0
    assert "3 routers" in done.stdout and f"{odd}:2:5: warning: a--b: MTU 1400 at a" in done.stderr
    (found,) = json.loads(lab("validate", str(odd), "--json").stdout)
    assert found["ok"] and [each["line"] for each in found["warnings"]] == [2, None]
    shown = lab("topology", "show", str(odd)).output
    assert "1400" in shown and "5 ms ± 2 ms" in shown
