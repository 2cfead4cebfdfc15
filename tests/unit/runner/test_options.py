"""Options of a run are checked against their models before anything boots: all that is wrong, once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from testbed.cli.run import options
from testbed.errors import InputError
from testbed.keying.options import AgentOptions, ManualOptions, NativeOptions, PlanOptions
from testbed.record.plan import Plan, all_options
from testbed.runner.experiment import find
from testbed.runner.session import Request, prepare
from testbed.topology.load import load

RING = load("ring:4")
INF, NAN = float("inf"), float("nan")


def said(given: dict[str, Any], keyings: tuple[str, ...] = ("none", "manual", "native", "central", "lks")) -> list[str]:
    """What a request with these options is told, line by line; nothing when it passes."""
    request = Request("power_cycle", keyings=keyings, seeds=(1, 2), options=given)
    try:
        prepare(find("power_cycle"), request, RING)
    except InputError as error:
        return error.lines()
    return []


@pytest.mark.parametrize(
    "given",
    [
        {"captures": "r1-eth0"},
        {"captures": "r1-eth0,r2-eth1"},
        {"captures": ["r1-eth0"]},
        {"captures": "all"},
        {"boot_jitter_s": "2s", "retained_mib": "16", "costs": "yes", "sad": True},
        {"transform": "ah", "mode": "clear", "commission": False, "wrong_key": "r1,r2"},
        {"policy": {"lifetimes": {"group_s": 60}, "suite": "esp-null-sha256"}},
        {"policy": {}},
    ],
)
def test_options_as_people_write_them_are_taken(given: dict[str, Any]) -> None:
    assert said(given) == []


BAD = [
    ("captures", "nosuch", "there is no interface 'nosuch'"),
    ("captures", "r1-eth9", "did you mean 'r1-eth"),
    ("captures", 5, "is 5"),
    ("captures", {"r1-eth0": 1}, "is {'r1-eth0': 1}"),
    *(("boot_jitter_s", value, f"is {value!r}") for value in ("abc", -5, NAN, INF, -INF, 1e9, True, None, [1], "5 kg")),
    *(("retained_mib", value, f"is {value!r}") for value in (0, 1.5, 10**9, "many", True)),
    *(("costs", value, f"is {value!r}") for value in (1, "perhaps", None)),
    *(("sad", value, f"is {value!r}") for value in (0, "perhaps", [])),
    *(("mode", value, f"is {value!r}") for value in ("bogus", "REQUIRED", 1, None)),
    *(("transform", value, f"is {value!r}") for value in ("rot13", "", None, ["esp"])),
    *(("commission", value, f"is {value!r}") for value in (2, "perhaps")),
    ("wrong_key", "r9", "there is no router 'r9'"),
    ("wrong_key", 5, "is 5"),
    *(("clear", value, f"is {value!r}") for value in ("bgp", "ospf,rip", 5)),
    *(("policy", value, f"is {value!r}") for value in ("lease", 5, None, [], True)),
    ("policy", {"issuer": "dks"}, "is {'issuer': 'dks'}"),
    ("policy", {"lifetimes": {"group_s": 12, "atd_s": 8, "dtd_s": 8}}, "policy is"),
    ("policy", {"reconnect": {"factor": INF}}, "policy is"),
    ("policy", {"suite": "esp-aes128-gcm16"}, "policy"),
]


@pytest.mark.parametrize(("name", "value", "problem"), BAD, ids=[f"{name}={value!r}"[:40] for name, value, _ in BAD])
def test_a_value_that_is_none_is_refused_once_with_its_option_and_what_is_allowed(
    name: str, value: Any, problem: str
) -> None:
    lines = said({name: value})
    assert len(lines) == 2, lines
    assert lines[0].startswith(f"-o {name}") and problem in lines[0]
    assert lines[1].startswith("  allowed: ") and len(lines[1]) > 12


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        (
            {"boot_jiter_s": 5},
            [
                "-o boot_jiter_s: unknown option 'boot_jiter_s'; did you mean 'boot_jitter_s'?",
                "  allowed: boot_jitter_s, captures, clear, commission, costs, mode, new_links, policy, previous, "
                "region, retained_mib, sad, transform, which, wrong_key",
            ],
        ),
        (
            {"policy": {"nope": 1, "lifetimes": {"grp_s": 5}}},
            [
                "-o policy.lifetimes.grp_s: unknown option 'policy.lifetimes.grp_s'; did you mean 'group_s'?",
                "  allowed: group_s, ike_s, atd_s, dtd_s",
                "-o policy.nope: unknown option 'policy.nope'",
                "  allowed: issuers, suite, lifetimes, reconnect, lease, generation_block, validity_s, post_quantum, "
                "carries",
            ],
        ),
        (
            {"policy": {"reconnect": {"factor": 0}, "lease": {"at_end": "explode"}}},
            [
                "-o policy.reconnect.factor: policy.reconnect.factor is 0",
                "  allowed: at least 1",
                "-o policy.lease.at_end: policy.lease.at_end is 'explode'",
                "  allowed: 'close' or 'open'",
            ],
        ),
    ],
)
def test_what_is_wrong_is_told_in_these_words(given: dict[str, Any], lines: list[str]) -> None:
    assert said(given) == lines


def test_an_option_that_no_mode_of_the_request_reads_is_refused_and_one_that_some_read_passes() -> None:
    assert said({"transform": "esp"}, ("none", "lks")) == [
        "-o transform: no keying mode of none, lks uses it", "  allowed: it is for --keying manual"
    ]  # fmt: skip
    assert said({"policy": {}}, ("none", "manual"))[0].startswith("-o policy: no keying mode of none, manual")
    assert said({"transform": "esp"}, ("none", "manual")) == []
    plan = find("power_cycle").plan(RING, "none", 1, {"transform": "ah", "costs": True})
    assert plan.options.model_dump() == {"costs": True}


def test_keying_modes_that_are_unknown_or_stand_twice_are_refused_together_with_wrong_options() -> None:
    lines = said({"mode": "bogus"}, ("none", "lsk", "lks", "lks"))
    assert [line for line in lines if not line.startswith(" ")] == [
        "--keying: unknown keying mode 'lsk'; did you mean 'lks'?",
        "--keying: lks is given twice",
        "-o mode: mode is 'bogus'",
    ]


def test_the_options_of_a_plan_are_a_model_of_its_mode_and_survive_its_file(tmp_path: Path) -> None:
    given = {"boot_jitter_s": 2, "policy": {"lease": {"seconds": 86400}}, "transform": "ah", "wrong_key": ["r1"]}
    kinds = {"none": PlanOptions, "manual": ManualOptions, "native": NativeOptions, "lks": AgentOptions}
    for keying, kind in kinds.items():
        plan = Plan(experiment="x", topology=RING, keying=keying, duration_s=1, options=given)
        assert type(plan.options) is kind and plan.options.boot_jitter_s == 2
        plan.write(tmp_path / "plan.json")
        assert Plan.read(tmp_path / "plan.json") == plan
    said = json.loads((tmp_path / "plan.json").read_text())["options"]
    assert said["boot_jitter_s"] == 2 and said["policy"]["lease"]["seconds"] == 86400 and "transform" not in said


def test_every_option_is_documented() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "experiments.md").read_text()
    assert all(f"`{name}`" in page for name in (*all_options(), "captures"))


def test_words_of_the_command_line_become_options_and_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("lifetimes: {group_s: 60}\n")
    (tmp_path / "broken.yaml").write_text("a: [\n")
    words = ["a=5", "b=text", 'c={"d": [1]}', "e=", "f=a=b", f"policy=@{tmp_path}/policy.yaml"]
    wrong: list[InputError] = []
    assert options(words, wrong) == {
        "a": 5, "b": "text", "c": {"d": [1]}, "e": "", "f": "a=b", "policy": {"lifetimes": {"group_s": 60}}
    }  # fmt: skip
    assert wrong == []
    words = ["a=1", "nothing", "=5", "a=2", f"p=@{tmp_path}/nosuch", f"q=@{tmp_path}/broken.yaml", "z=1"]
    assert options(words, wrong) == {"a": 1, "z": 1}
    heads = [line for each in wrong for line in each.lines() if not line.startswith(" ")]
    assert [head.replace(str(tmp_path), "") for head in heads[:4]] == [
        "-o 'nothing'", "-o '=5'", "-o a: is given twice", "/nosuch: -o p: cannot be read: No such file or directory"
    ]  # fmt: skip
    assert f"{tmp_path}/broken.yaml:" in heads[4] and "-o q: not YAML" in heads[4]
