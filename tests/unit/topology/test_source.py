"""What may be written: units, short forms, the schema, and that nothing written can do worse than be refused."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from testbed.errors import InputError
from testbed.topology.load import LIBRARY, load
from testbed.topology.resolved import Topology
from testbed.topology.schema import schema, schema_text
from testbed.topology.source import LinkSource, TopologySource

PROJECT = Path(__file__).resolve().parents[3]
BAD = PROJECT / "tests" / "errors" / "topology"


def resolved(folder: Path, text: str) -> Topology:
    (folder / "mine.yaml").write_text(text)
    return load(str(folder / "mine.yaml"))


@pytest.mark.parametrize(
    ("key", "written", "meant"),
    [
        ("delay", "5ms", 5.0),
        ("delay", 5, 5.0),
        ("delay", "0.1 s", 100.0),
        ("delay", "200us", 0.2),
        ("delay", "200µs", 0.2),
        ("delay", ".5ms", 0.5),
        ("loss", "1%", 1.0),
        ("loss", 0.5, 0.5),
        ("bandwidth", "100Mbps", 100.0),
        ("bandwidth", "100 Mbit/s", 100.0),
        ("bandwidth", "64kbit", 0.064),
        ("bandwidth", "1Gbps", 1000.0),
        ("area", 1, 1),
        ("area", "0.0.1.0", 256),
    ],
)
def test_units_are_taken_as_people_write_them(key: str, written: object, meant: float) -> None:
    link = LinkSource.model_validate({"between": ["a", "b"], key: written})
    assert getattr(link, key) == meant


def test_every_member_of_a_lan_may_have_a_cost_and_an_address_of_its_own(tmp_path: Path) -> None:
    topology = resolved(
        tmp_path,
        "lans:\n  lan:\n    routers: [a, b, c]\n    cost: 7\n    costs: {b: 3}\n"
        "    subnet: 10.9.0.0/29\n    addresses: {a: 10.9.0.2, c: 10.9.0.1}\n",
    )
    wired = {name: router.interfaces[0] for name, router in topology.routers.items()}
    assert {name: interface.cost for name, interface in wired.items()} == {"a": 7, "b": 3, "c": 7}
    assert {name: str(i.ipv4) for name, i in wired.items()} == {
        "a": "10.9.0.2/29",
        "b": "10.9.0.3/29",
        "c": "10.9.0.1/29",
    }


def test_the_ends_of_a_link_have_the_addresses_given(tmp_path: Path) -> None:
    link = "links: [{between: [a, b], subnet: 10.9.0.0/31, addresses: [10.9.0.1, 10.9.0.0]}]"
    topology = resolved(tmp_path, link)
    assert topology.routers["a"].interfaces[0].ipv4.ip == IPv4Address("10.9.0.1")
    assert topology.routers["b"].interfaces[0].ipv4.ip == IPv4Address("10.9.0.0")


def test_the_management_network_is_as_given_or_avoids_what_is_given(tmp_path: Path) -> None:
    free = resolved(tmp_path, "links: [{between: [a, b], subnet: 172.16.4.0/24}]").dks.management.subnet
    assert str(free) == "172.17.0.0/16"
    given_ = resolved(tmp_path, "links: [a-b]\ndks: {attach: b, management: 192.168.7.0/29}").dks.management
    assert str(given_.subnet) == "192.168.7.0/29"
    assert str(given_.routers["b"].ipv4) == "192.168.7.3/29"


def test_hosts_get_multicast_where_there_is_any_and_the_key_server_does_not(tmp_path: Path) -> None:
    topology = resolved(tmp_path, "pim: {rp: a}\nlinks: [a-b]\nhosts: {h: {on: a}}\ndks: {attach: a}")
    assert {i.segment: i.pim for i in topology.routers["a"].interfaces} == {"a--b": True, "a--h": True, "a--dks": False}


def test_a_key_with_nothing_after_it_says_nothing(tmp_path: Path) -> None:
    assert resolved(tmp_path, "links: [a-b]\nhosts:\nlans:\npim:\ndks:\n").dks.router == "a"


def test_the_order_of_routers_is_that_of_the_file(tmp_path: Path) -> None:
    text = "links: [c-a, a-b]\nlans: {lan: [z, b]}\n"
    assert list(resolved(tmp_path, text).routers) == ["c", "a", "b", "z"]
    assert list(resolved(tmp_path, "routers: [b, z, a, c]\n" + text).routers) == ["b", "z", "a", "c"]
    assert resolved(tmp_path, text) == resolved(tmp_path, text)


def test_500_routers_have_addresses_and_501_are_refused() -> None:
    topology = load("line:500")
    assert len({router.loopback for router in topology.routers.values()}) == 500
    with pytest.raises(InputError, match="501 routers"):
        load("line:501")


def test_a_misspelt_name_of_the_library_is_suggested() -> None:
    with pytest.raises(InputError, match="did you mean 'abilene'"):
        load("abiline")


def test_everything_that_is_wrong_is_said_once_in_the_order_of_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)
    with pytest.raises(InputError) as raised:
        load("everything-at-once.yaml")
    places = [line.split(": ")[0] for line in raised.value.lines() if not line.startswith(" ")]
    lines = [int(place.split(":")[1]) for place in places]
    assert lines == sorted(lines)
    assert set(lines) == {1, 2, 4, 5, 6, 7, 9, 10, 11}
    assert len(set(places)) == len(places)


def test_anchors_that_multiply_are_refused(tmp_path: Path) -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 9))
    with pytest.raises(InputError, match="too large"):
        resolved(tmp_path, "l0: &l0 [a-b]\n" + levels)


def test_the_schema_in_docs_is_current() -> None:
    assert (PROJECT / "docs" / "topology.schema.json").read_text() == schema_text()


def test_the_schema_allows_the_library_and_every_short_form() -> None:
    Draft202012Validator.check_schema(schema())
    texts = [file.read_text() for file in LIBRARY.glob("*.yaml")]
    texts += ["routers: [a, b]\nlinks: [a - b]", "routers: {a: , b: {at: [1, 2]}}\nlans: {x: [a, b]}\nhosts:"]
    for text in texts:
        assert not list(Draft202012Validator(schema()).iter_errors(YAML(typ="safe").load(text))), text


@pytest.mark.parametrize(
    "case", ["unknown-key", "unknown-key-in-link", "bad-delay", "long-name", "zero-cost", "lan-of-one"]
)
def test_the_schema_refuses_what_an_editor_can_see(case: str) -> None:
    assert list(Draft202012Validator(schema()).iter_errors(YAML(typ="safe").load((BAD / f"{case}.yaml").read_text())))


def test_every_key_of_a_file_is_described_in_the_schema() -> None:
    found = schema()
    for model in [found, *found["$defs"].values()]:
        assert all(held.get("description") for held in model["properties"].values())
    assert set(found["properties"]) == set(TopologySource.model_fields)


WORDS = st.sampled_from(
    [
        "r1",
        "r2",
        "r3",
        "r1-r2",
        "r2-r3",
        "-",
        "",
        "dks",
        "lab",
        "5ms",
        "1%",
        "10.0.0.1",
        "10.9.0.0/30",
        "0.0.0.1",
        "x" * 20,
    ]
)
SCALARS = st.one_of(
    WORDS, st.none(), st.booleans(), st.integers(-3, 70000), st.floats(allow_nan=True, allow_infinity=True)
)
KEYS = st.sampled_from(
    [
        *TopologySource.model_fields,
        *LinkSource.model_fields,
        "routers",
        "on",
        "rp",
        "attach",
        "loopback",
        "at",
        "r1",
        "r2",
    ]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(list(TopologySource.model_fields)), VALUES, max_size=6))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_written_is_resolved_or_refused_with_a_place(tmp_path: Path, data: dict[str, Any]) -> None:
    file = tmp_path / "any.yaml"
    with file.open("w") as out:
        YAML(typ="safe").dump(data, out)
    try:
        topology = load(str(file))
    except InputError as error:
        assert error.exit_code == 2
        assert all(line.startswith(("  ", str(file))) for line in error.lines())
    else:
        assert Topology.model_validate_json(topology.model_dump_json()) == topology


@given(data=st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_with_some_octets_changed_is_resolved_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    good = (
        b"domain: x.net\nospf: {hello: 5s, dead: 20s}\nlinks:\n  - r1-r2\n  - {between: [r2, r3], delay: 5ms}\n"
        b"lans:\n  lan: {routers: [r1, r3], subnet: 10.9.0.0/24}\nhosts: {h: {on: r1}}\ndks: {attach: r1}\n"
    )
    text = bytearray(good)
    for place in data.draw(st.lists(st.integers(0, len(good) - 1), max_size=4)):
        text[place] = data.draw(st.integers(0, 255))
    file = tmp_path / "torn.yaml"
    file.write_bytes(bytes(text))
    try:
        load(str(file))
    except InputError as error:
        assert str(file) in str(error)
