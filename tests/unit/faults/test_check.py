"""A plan is checked before anything is built."""

from __future__ import annotations

import inspect
import json
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from testbed.errors import InputError, InputErrors
from testbed.faults.check import check_plan
from testbed.faults.command_line import parse_fault
from testbed.faults.steps import ACTIONS, LinkNetem, PowerOff
from testbed.record.plan import Flow, Plan, Stream
from testbed.runner.experiment import step as experiment_step
from testbed.setup.paths import PROJECT
from testbed.topology.load import load


def plan(*steps: Any, **fields: Any) -> Plan:
    settings = {"experiment": "test", "keying": "none", "duration_s": 10, "topology": load("ring:4"), **fields}
    return Plan(timeline=steps, **settings)


def step(action: str, **args: Any) -> dict[str, Any]:
    return {"at_s": 1, "action": action, "args": args}


@pytest.mark.parametrize(
    "good",
    [
        step("power_off", nodes="all", dks=True),
        step("power_on", nodes=["r1"], jitter_s=2.5),
        step("link_admin_down", segment="r1--r2", side="r2"),
        step("link_netem", segment="r1--r2", delay_ms=5, loss_percent=1),
        step("partition", groups=[["r1", "r2"], ["r3"]]),
        step("clock_step", node="r1", seconds=-3600),
        step("mark", name="middle"),
    ],
)
def test_steps_that_can_be_done_pass(good: dict[str, Any]) -> None:
    check_plan(plan(good))


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (step("power_off", nodes=["r9"]), "there is no node 'r9'"),
        (step("power_off"), "power_off without a node"),
        (step("power_off", nodes=[], dks=False), "power_off without a node"),
        (step("power_off", nodes=["all", "r1"]), 'has "all" in a list'),
        (step("link_carrier_down", segment="r1-r2"), "there is no segment 'r1-r2'; did you mean 'r1--r2'?"),
        (step("link_admin_down", segment="r1--r2", side="r3"), "there is no side 'r3' of r1--r2"),
        (step("link_netem", segment="r1--r2"), "link_netem changes nothing"),
        (step("partition", groups=[["r1"], ["r1"]]), "'r1' is in two groups"),
        (step("partition", groups=[["r1", "r9"]]), "there is no node 'r9'"),
        (step("clock_step", node="r9", seconds=1), "there is no node 'r9'"),
        (step("clock_step", node="r1", seconds=0), "clock_step of 0 s"),
        (step("router_remove", router="r1", hand_to="r1"), "handed its own revocation"),
        (step("router_remove", router="r9"), "there is no router 'r9'"),
        (step("replay", segment="r1--r2"), "no intruder is on r1--r2 yet"),
        ({**step("mark", name="late"), "at_s": 10.5}, "comes at 10.5 s, after the end of the run"),
    ],
)
def test_steps_that_cannot_be_done_are_refused_with_their_place(bad: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        check_plan(plan(step("mark", name="first"), bad))
    assert problem in str(caught.value)
    assert "timeline[1]" in str(caught.value) and "allowed:" in str(caught.value)


INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("action", "args", "problem"),
    [
        ("link_carrier_down", {}, "segment is missing"),
        ("link_carrier_down", {"segment": 7}, "segment is 7"),
        ("link_carrier_down", {"segment": ""}, "segment is ''"),
        ("link_netem", {"segment": "r1--r2", "delay": 5}, "unknown argument 'delay'; did you mean 'delay_ms'?"),
        *(
            ("link_netem", {"segment": "r1--r2", name: value}, f"{name} is {value!r}")
            for name in ("delay_ms", "jitter_ms", "loss_percent", "rate_mbps")
            for value in (-5, 1e9, NAN, INF, "fast", True, [5], "5 parsecs", "", 1e300)
        ),
        ("link_netem", {"segment": "r1--r2", "loss_percent": 100.5}, "loss_percent is 100.5"),
        ("link_netem", {"segment": "r1--r2", "jitter_ms": 2148}, "jitter_ms is 2148"),
        ("link_netem", {"segment": "r1--r2", "rate_mbps": 0}, "rate_mbps is 0"),
        ("link_netem", {"segment": "r1--r2", "delay_ms": None}, "delay_ms is None"),
        ("power_on", {"nodes": "all", "jitter_s": -1}, "jitter_s is -1"),
        ("power_on", {"nodes": "all", "dks": "perhaps"}, "dks is 'perhaps'"),
        ("power_on", {"nodes": "all", "dks": 1}, "dks is 1"),
        ("power_on", {"nodes": [1]}, "nodes is [1]"),
        ("power_on", {"nodes": {"r1": 1}}, "nodes is {'r1': 1}"),
        ("mark", {"name": ""}, "name is ''"),
        ("mark", {"name": 5}, "name is 5"),
        ("partition", {"groups": []}, "groups is []"),
        ("partition", {"groups": [[]]}, "groups is [[]]"),
        ("partition", {"groups": ["r1", "r2"]}, "groups is ['r1', 'r2']"),
        ("clock_step", {"node": "r1", "seconds": NAN}, "seconds is nan"),
        ("policy_step", {"direction": "sideways"}, "direction is 'sideways'"),
        ("policy_step", {"direction": "up", "at_once": 0}, "at_once is 0"),
        ("policy_step", {"direction": "up", "at_once": 1.5}, "at_once is 1.5"),
        ("inject", {"segment": "r1--r2", "frames": ["xyz"]}, "frames is ['xyz']"),
        ("inject", {"segment": "r1--r2", "frames": []}, "frames is []"),
        ("inject", {"segment": "r1--r2", "frames": ["00112233"]}, "frames is ['00112233']"),
        ("inject", {"segment": "r1--r2", "frames": "00" * 34, "fresh": [[1]]}, "fresh is [[1]]"),
        ("dks_kill", {"dks": True}, "unknown argument 'dks'"),
        ("power_of", {"nodes": "all"}, "there is no action 'power_of'; did you mean 'power_off'?"),
        (["mark"], {}, "there is no action ['mark']"),
    ],
)
def test_arguments_of_another_kind_are_refused_where_a_step_is_made(
    action: Any, args: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InputError) as caught:
        experiment_step(1, action, **args)
    (first, *_) = str(caught.value).splitlines()
    assert problem in first and f"test_check.py:{LINE}: " in first
    with pytest.raises((InputError, ValidationError)):
        plan({"at_s": 1, "action": action, "args": args})


LINE = inspect.getsource(sys.modules[__name__]).splitlines().index("        experiment_step(1, action, **args)") + 1


@pytest.mark.parametrize("at_s", [-5, NAN, INF, 1e12, "soon", None, True])
def test_a_moment_that_is_none_is_refused(at_s: Any) -> None:
    with pytest.raises(InputError, match="at_s is"):
        experiment_step(at_s, "mark", name="x")


@pytest.mark.parametrize(
    ("one", "other", "part"),
    [
        (step("power_off", nodes=["r1"]), step("power_on", nodes="all"), "power r1"),
        (step("link_carrier_down", segment="r1--r2"), step("link_carrier_up", segment="r1--r2"), "carrier r1--r2"),
        (step("link_blackhole", segment="r1--r2"), step("link_heal", segment="r1--r2"), "blackhole r1--r2"),
        (
            step("link_admin_down", segment="r1--r2"),
            step("link_admin_up", segment="r1--r2", side="r2"),
            "admin r2-eth0",
        ),
        (
            step("link_netem", segment="r1--r2", delay_ms=5),
            step("link_netem", segment="r1--r2", delay_ms=6),
            "netem r1--r2 delay_ms",
        ),
        (step("dks_kill"), step("dks_start"), "dks"),
        (step("partition", groups=[["r1"]]), step("heal"), "partition"),
        (step("policy_step", direction="up"), step("policy_step", direction="back"), "policy"),
    ],
)
def test_two_steps_of_one_moment_that_contradict_are_refused(
    one: dict[str, Any], other: dict[str, Any], part: str
) -> None:
    with pytest.raises(InputError, match=f"contradicts {one['action']} at the same moment: {part}"):
        check_plan(plan(one, other))
    check_plan(plan(one, {**other, "at_s": 2}))


def test_two_steps_of_one_moment_that_agree_pass() -> None:
    check_plan(
        plan(
            step("link_netem", segment="r1--r2", delay_ms=5),
            step("link_netem", segment="r1--r2", loss_percent=5),
            step("link_netem", segment="r2--r3", delay_ms=6),
            step("power_off", nodes=["r1"]),
            step("power_off", nodes=["r1"], dks=True),
        )
    )


@pytest.mark.parametrize(
    ("flow", "problem"),
    [
        ({"src": "r1", "dst": "r1", "rate_pps": 1}, "r1 sends to itself"),
        ({"src": "r9", "dst": "r1", "rate_pps": 1}, "there is no node 'r9'"),
        ({"src": "r1", "dst": "r2", "rate_pps": 1, "start_s": 6, "stop_s": 5}, "starts at 6 s and stops at 5 s"),
        ({"src": "r1", "dst": "r2", "rate_pps": 1, "start_s": 10}, "starts at 10 s and stops at 10 s"),
        ({"src": "r1", "dst": "r2", "rate_pps": 1, "stop_s": 11}, "stops at 11 s, after the end of the run"),
    ],
)
def test_flows_that_cannot_be_are_refused(flow: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=r"flows\[0\]") as caught:
        check_plan(plan(flows=[flow]))
    assert problem in str(caught.value)


MULTICAST = load(str(PROJECT / "topologies" / "office.yaml"))
STREAM = {"name": "a", "source": "r1", "group": "239.1.1.1", "receivers": ["r2", "r3"], "rate_pps": 1}


def test_a_stream_that_can_be_passes() -> None:
    specific = {**STREAM, "name": "b", "group": "232.1.1.1", "specific": True, "since_s": 1, "until_s": 9}
    check_plan(plan(streams=[STREAM, specific], topology=MULTICAST))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"source": "r2"}, "r2 sends to itself"),
        ({"source": "r9"}, "there is no node 'r9'"),
        ({"receivers": ["r2", "r9"]}, "there is no node 'r9'"),
        ({"group": "232.1.1.1"}, "232.1.1.1 is not a group for any source"),
        ({"specific": True}, "239.1.1.1 is not a group source-specific"),
        ({"since_s": 6, "until_s": 5}, "starts at 6 s and stops at 5 s"),
        ({"until_s": 11}, "stops at 11 s, after the end of the run"),
    ],
)
def test_streams_that_cannot_be_are_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=r"streams\[0\]") as caught:
        check_plan(plan(streams=[{**STREAM, **change}], topology=MULTICAST))
    assert problem in str(caught.value) and "allowed:" in str(caught.value)


def test_streams_of_one_name_and_streams_without_pim_are_refused() -> None:
    with pytest.raises(InputError, match="another stream is called 'a'"):
        check_plan(plan(streams=[STREAM, STREAM], topology=MULTICAST))
    with pytest.raises(InputError, match="streams need PIM"):
        check_plan(plan(streams=[STREAM], topology=MULTICAST.model_copy(update={"pim": None})))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("group", each) for each in ("10.0.0.1", "224.0.0.5", "240.0.0.1", "ff05::1", "all", 5, None, "239.1.1.1/8")),
        *(("receivers", each) for each in ((), "", [5], None, [["r2"]])),
        *(("rate_pps", each) for each in (0, -1, NAN, INF, 10_001, "fast", True)),
        ("since_s", -1), ("since_s", NAN), ("until_s", INF), ("source", ""), ("name", ""),
    ],
)  # fmt: skip
def test_a_stream_of_other_values_is_none(name: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=name):
        Stream(**{**STREAM, name: value})


@pytest.mark.parametrize("rate", [0, -1, NAN, INF, 10_001, "fast", True])
def test_a_flow_of_no_rate_is_none(rate: Any) -> None:
    with pytest.raises(ValidationError, match="rate_pps"):
        Flow(src="r1", dst="r2", rate_pps=rate)


@pytest.mark.parametrize("duration_s", [0, -1, NAN, INF, 1e12, "long", True])
def test_a_duration_that_is_none_is_refused(duration_s: Any) -> None:
    with pytest.raises(ValidationError, match="duration_s"):
        plan(duration_s=duration_s)


def test_all_that_is_wrong_is_told_at_once_and_once() -> None:
    bad = step("power_off", nodes=["r8", "r9"])
    with pytest.raises(InputErrors) as caught:
        check_plan(plan(bad, step("link_heal", segment="x"), captures=["r1-eth0", "nosuch"]))
    assert [each.problem.split(";")[0] for each in caught.value.errors] == [
        "there is no node 'r8'", "there is no node 'r9'", "there is no segment 'x'", "there is no interface 'nosuch'"
    ]  # fmt: skip


def test_unknown_keyings_captures_and_flow_ends_are_refused() -> None:
    for fields in (
        {"keying": "magic"},
        {"captures": ["r1-eth99"]},
        {"flows": [{"src": "r1", "dst": "r9", "rate_pps": 1}]},
    ):
        with pytest.raises(InputError):
            check_plan(plan(**fields))


def test_all_means_the_routers_and_the_dks_when_asked_for() -> None:
    ring = load("ring:4")
    assert PowerOff(at_s=1, nodes="all").chosen(ring) == ["r1", "r2", "r3", "r4"]
    assert PowerOff(at_s=1, nodes="all", dks=True).chosen(ring) == ["dks", "r1", "r2", "r3", "r4"]
    assert PowerOff(at_s=1, nodes=("r2", "r2", "r1")).chosen(ring) == ["r2", "r1"]


def test_a_plan_survives_its_file(tmp_path: Any) -> None:
    before = plan(step("mark", name="x"), captures="all")
    before.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == before


def test_the_json_of_a_step_names_what_was_given_and_nothing_else() -> None:
    made = experiment_step(5, "link_netem", segment="r1--r2", delay_ms=5, rate_mbps=None)
    told = {"at_s": 5.0, "action": "link_netem", "args": {"segment": "r1--r2", "delay_ms": 5, "rate_mbps": None}}
    assert json.loads(made.model_dump_json()) == told
    again = plan(told).timeline[0]
    assert again.args == made.args and isinstance(again, LinkNetem)
    assert again.changes == {"delay_ms": 5, "rate_mbps": None}
    assert plan(made).timeline[0].written == made.written is not None


TYPED = [
    ("power_on nodes=r1,r2 jitter_s=2 dks=true", {"nodes": ("r1", "r2"), "jitter_s": 2.0, "dks": True}),
    ("power_on nodes=r1 jitter_s=500ms dks=no", {"nodes": ("r1",), "jitter_s": 0.5, "dks": False}),
    ("power_off nodes=all", {"nodes": "all"}),
    ("partition groups=r1,r2/r3", {"groups": (("r1", "r2"), ("r3",))}),
    ("mark name=5", {"name": "5"}),
    ("mark name=true", {"name": "true"}),
    ("mark name=a=b", {"name": "a=b"}),
    (f"inject segment=x frames={'0011' * 17}", {"segment": "x", "frames": ("0011" * 17,)}),
    (
        f"inject segment=x frames={'00' * 34},{'11' * 34} fresh=30:4 copies=3",
        {"segment": "x", "frames": ("00" * 34, "11" * 34), "copies": 3, "fresh": ((30, 4),)},
    ),
    (
        "link_netem segment=x delay_ms=0.2s jitter_ms=1e1 loss_percent=5% rate_mbps=64kbps",
        {"segment": "x", "delay_ms": 200.0, "jitter_ms": 10.0, "loss_percent": 5.0, "rate_mbps": 0.064},
    ),
    ("link_netem segment=x rate_mbps=none", {"segment": "x", "rate_mbps": None}),
    ("clock_step node=all seconds=-1min", {"node": "all", "seconds": -60.0}),
    (f"impersonate segment=x insider=a speaker=b payload={'00' * 24}", {"payload": "00" * 24}),
    ("dks_kill", {}),
]


@pytest.mark.parametrize(("typed", "args"), TYPED, ids=[typed[:40] for typed, _ in TYPED])
def test_a_word_is_what_its_argument_takes(typed: str, args: dict[str, Any]) -> None:
    made = parse_fault(typed.split())
    assert made.action == typed.split()[0] and made.args == {**made.args, **args}
    if typed.split()[0] != "impersonate":
        assert made.args == args


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("mark name", "'name' is not an argument"),
        ("mark =5", "'=5' is not an argument"),
        ("mark name=a name=b", "name is given twice"),
        ("marc name=a", "there is no action 'marc'; did you mean 'mark'?"),
        ("link_netem segment=x loss_percent=500", "loss_percent is '500'"),
        ("link_netem segment=x delay_ms=nan", "delay_ms is 'nan'"),
        ("link_netem segment=x delay_ms=1e999", "delay_ms is '1e999'"),
        ("policy_step direction=up at_once=two", "at_once is 'two'"),
        ("mark name=x at_s=5", "unknown argument 'at_s'"),
        ("mark name=x action=heal", "unknown argument 'action'"),
        ("inject segment=x frames=0011223", "frames is '0011223'"),
    ],
)
def test_words_that_no_argument_takes_are_refused_before_a_laboratory_is_asked(typed: str, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_fault(typed.split())
    assert problem in str(caught.value) and "allowed:" in str(caught.value)


def test_a_link_that_is_named_from_its_other_end_is_told_as_what_it_is() -> None:
    with pytest.raises(InputError, match="did you mean 'r1--r2'"):
        check_plan(plan(step("link_heal", segment="r2--r1")))


def test_every_action_is_documented() -> None:
    page = (PROJECT / "docs" / "experiments.md").read_text()
    for action, kind in ACTIONS.items():
        assert f"`{action}`" in page and kind.__doc__
        assert all(f"`{name}`" in page for name in kind.arguments()), action
