"""Deployment in steps: the order, who is waited for, and the way back."""

from __future__ import annotations

import json
from ipaddress import IPv4Interface, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.ikev2.config import PostQuantum
from agents.ipsec.protection import Mode, RoutingProtocol
from agents.policy import confirmation_folder, edit, rollout
from agents.policy.cli import main
from agents.policy.confirmation import Confirmation, InForce, sign_confirmation
from agents.policy.deploy import Deployer, Held, from_folder
from agents.policy.difference import difference
from agents.policy.document import PolicyDocument, verify_document
from agents.policy.domain import Domain, Settings
from agents.policy.errors import PolicyError
from agents.policy.problems import problems, validate
from agents.policy.store import PolicyStore, VersionConflict
from testbed.domains.build import domain_of
from testbed.domains.drawn import DKS_ADDRESS, End, drawn
from testbed.domains.keys import keys_of

WHERE = {"a": ("r1", "r2"), "b": ("r2", "r3"), "c": ("r1", "r3", "r4")}


key = keys_of(0)


def domain(mode: Mode = Mode.CLEAR) -> Domain:
    """r1, r2, r3 and r4 on two links and a LAN; interfaces are called like segments."""
    ends: dict[str, list[End]] = {name: [] for name in ("r1", "r2", "r3", "r4")}
    for number, (segment, members) in enumerate(WHERE.items()):
        for host, router in enumerate(members, 1):
            address, address6 = IPv4Interface(f"10.0.{number}.{host}/24"), IPv6Address(f"fe80::{number + 1}:{host}")
            ends[router].append(End(segment, segment, address, address6))
    return domain_of(drawn(ends, (RoutingProtocol.OSPF,)), key, DKS_ADDRESS, Settings(), mode)


def documents(store: PolicyStore) -> dict[str, PolicyDocument]:
    found = store.documents().items()
    return {name: verify_document(each, store.public_key, domain="example", router=name) for name, each in found}


def say(store: PolicyStore, *routers: str, **changes: object) -> None:
    """These routers confirm what their documents ask for (all: everybody)."""
    for name, document in documents(store).items():
        if routers and name not in routers:
            continue
        states = tuple(
            InForce(
                name=i.name,
                mode=i.mode,
                modes=i.modes,
                keyed=tuple(sorted(n.router for n in i.neighbors if i.protected)),
            )
            for i in document.interfaces
        )
        fields = {"version": document.version, "interfaces": states, **changes}
        said = Confirmation(domain="example", router=name, at=1, **fields)  # type: ignore[arg-type]
        confirmation_folder.put(store.draft(), store.folder / "confirmations", sign_confirmation(said, key(name)))


@pytest.fixture
def store(tmp_path: Path) -> PolicyStore:
    made = PolicyStore.create(tmp_path / "store", domain())
    made.commit("admin", "begin", 1000)
    return made


def deployer(store: PolicyStore) -> Deployer:
    return Deployer(store, from_folder(store.folder / "confirmations"))


def test_a_segment_is_what_hears_each_other() -> None:
    assert [each.name for each in rollout.segments(domain())] == [
        "r1:a -- r2:a", "r1:c -- r3:c -- r4:c", "r2:b -- r3:b",
    ]  # fmt: skip
    assert [each.name for each in rollout.chosen(domain(), ["r4", "r3:b"])] == ["r1:c -- r3:c -- r4:c", "r2:b -- r3:b"]
    with pytest.raises(PolicyError, match="r9"):
        rollout.chosen(domain(), ["r9"])


def test_a_plan_goes_segment_by_segment_and_every_mode() -> None:
    steps = list(rollout.steps(domain(), rollout.begin(domain())))
    assert [str(step.changes[0]) for step in steps] == [
        "r1:a: clear -> listen", "r1:a: listen -> permissive", "r1:a: permissive -> required",
        "r1:c: clear -> listen", "r1:c: listen -> permissive", "r1:c: permissive -> required",
        "r2:b: clear -> listen", "r2:b: listen -> permissive", "r2:b: permissive -> required",
    ]  # fmt: skip
    together = list(rollout.steps(domain(), rollout.begin(domain(), at_once=3)))
    assert [len(step.changes) for step in together] == [7, 7, 7]


@given(
    at_once=st.integers(1, 4),
    goal=st.sampled_from(Mode),
    first=st.dictionaries(st.sampled_from(list(WHERE)), st.sampled_from(Mode)),
    ahead=st.sets(st.sampled_from([(router, name) for name, members in WHERE.items() for router in members])),
)
def test_from_wherever_it_begins_every_step_is_a_consistent_domain_and_one_mode_further(
    at_once: int, goal: Mode, first: dict[str, Mode], ahead: set[tuple[str, str]]
) -> None:
    made = domain()
    for name, mode in first.items():
        for router in WHERE[name]:
            further = mode.step + ((router, name) in ahead)
            made = edit.set_mode(made, router, name, list(Mode)[min(further, 3)])
    validate(made)
    deployment = rollout.Deployment(goal=goal, segments=rollout.segments(made), at_once=at_once)
    for step in rollout.steps(made, deployment):
        assert len(step.segments) <= at_once
        assert all(abs(each.before.step - each.after.step) == 1 for each in step.changes)
        after = rollout.taken(made, step)
        assert rollout.jumps(made, after) == []
        validate(after)
        made = after
    assert all(set(rollout.modes(made, each)) == {goal} for each in rollout.segments(made))


def test_what_is_removed_on_the_way_holds_nothing_up_and_the_next_deployment_can_begin(store: PolicyStore) -> None:
    work = deployer(store)
    say(store)
    work.start(["r1:a", "r2:b"], Mode.LISTEN, 1, "admin", 1001)
    store.edit(edit.remove_router(store.draft(), "r3"))
    store.commit("admin", "r3 was stolen", 1002)
    say(store)
    done = work.step("admin", 1003)
    assert done is not None and [str(each) for each in done.step.changes] == ["r2:b: clear -> listen"]
    store.edit(edit.remove_router(store.draft(), "r2"))
    store.commit("admin", "r2 too", 1004)
    say(store)
    assert work.status()["done"]
    work.start([], Mode.REQUIRED, 3, "admin", 1005)


def test_no_step_is_taken_before_every_member_has_confirmed_and_who_lacks_is_named(store: PolicyStore) -> None:
    work = deployer(store)
    with pytest.raises(Held) as held:
        work.start(["r4"], Mode.REQUIRED, 1, "admin", 1001)
    assert held.value.missing == [f"{name} has confirmed nothing" for name in ("r1", "r3", "r4")]  # r2 is no member
    assert store.version == 1
    say(store, "r1", "r3", "r4")
    done = work.start(["r4"], Mode.REQUIRED, 1, "admin", 1002)
    assert (done.commit.version, done.left) == (2, 2)
    say(store, "r1", "r3")
    with pytest.raises(Held) as held:
        work.step("admin", 1003)
    assert held.value.missing == ["r4 has confirmed version 1, and not yet 2"]
    say(store, "r4")
    step = work.step("admin", 1004)
    assert step is not None
    assert [str(each) for each in step.step.changes] == [f"{r}:c: listen -> permissive" for r in ("r1", "r3", "r4")]
    assert store.history()[0].why.startswith("deploy permissive: r1:c")


def test_not_keyed_is_not_confirmed(store: PolicyStore) -> None:
    work = deployer(store)
    say(store)
    work.start(["r1:a"], Mode.REQUIRED, 1, "admin", 1001)
    say(store, "r2")
    bare = InForce(name="a", mode=Mode.LISTEN, keyed=())
    say(store, "r1", interfaces=(bare,))
    with pytest.raises(Held, match="r1:a is not keyed with r2"):
        work.step("admin", 1002)


def test_the_segment_that_came_to_its_end_is_waited_for_before_another_begins(store: PolicyStore) -> None:
    work = deployer(store)
    say(store)
    work.start(["r1:a", "r3:b"], Mode.LISTEN, 1, "admin", 1001)
    say(store, "r2", "r3", "r4")
    with pytest.raises(Held, match="r1 has confirmed version 1, and not yet 2"):
        work.step("admin", 1002)
    say(store)
    assert work.step("admin", 1003) is not None
    with pytest.raises(Held):
        work.step("admin", 1004)
    say(store)
    assert work.step("admin", 1005) is None
    assert work.status()["done"] is True


def test_all_the_way_and_back_ends_where_it_began(store: PolicyStore) -> None:
    work = deployer(store)
    say(store)
    count = 1
    work.start([], Mode.REQUIRED, 2, "admin", 1001)
    say(store)
    while work.step("admin", 1002) is not None:
        count += 1
        say(store)
    assert count == 6
    assert all(set(each["modes"].values()) == {"required"} for each in work.status()["segments"])
    first = work.back(Mode.CLEAR, 1, "admin", 1003)
    assert str(first.step.changes[0]) == "r2:b: required -> permissive"
    say(store)
    while work.step("admin", 1004) is not None:
        say(store)
    assert store.domain(store.version).routers == domain().routers


def test_the_step_just_taken_is_taken_back_though_somebody_is_down_and_no_further(store: PolicyStore) -> None:
    work = deployer(store)
    say(store)
    work.start(["r1:a"], Mode.REQUIRED, 1, "admin", 1001)
    say(store)
    work.step("admin", 1002)  # permissive; r2 never says so
    done = work.back(Mode.CLEAR, None, "admin", 1003)
    assert str(done.step.changes[0]) == "r1:a: permissive -> listen"
    say(store, "r1")
    with pytest.raises(Held, match="r2 has confirmed version 2, and not yet 4"):
        work.step("admin", 1004)


def test_a_router_is_not_waited_for_only_when_it_is_named_and_the_history_says_so(store: PolicyStore) -> None:
    work = deployer(store)
    say(store, "r1", "r3")
    work.start(["r4"], Mode.REQUIRED, 1, "admin", 1001, without=["r4"])
    assert store.history()[0].why.endswith("(not waiting for r4)")
    states = (InForce(name="a", mode=Mode.CLEAR, keyed=()), InForce(name="c", mode=Mode.LISTEN, keyed=("r3",)))
    say(store, "r1", interfaces=states)
    say(store, "r3", interfaces=(InForce(name="c", mode=Mode.LISTEN, keyed=("r1",)),))
    with pytest.raises(Held, match="r4"):
        work.step("admin", 1002)
    assert work.step("admin", 1003, ["r4"]) is not None
    with pytest.raises(PolicyError, match="r9"):
        work.step("admin", 1004, ["r9"])


def test_other_changes_of_the_draft_are_not_carried_along(store: PolicyStore) -> None:
    work = deployer(store)
    say(store)
    store.edit(edit.deny(store.draft(), ("r1", "a"), ("r2", "a")))
    with pytest.raises(VersionConflict, match="uncommitted"):
        work.start(["r3:b"], Mode.REQUIRED, 1, "admin", 1001)
    with pytest.raises(VersionConflict, match="the last version is 1"):
        store.commit("admin", "why", 1001, expected=7)
    assert store.version == 1


def test_a_deployment_that_is_under_way_is_not_replaced(store: PolicyStore) -> None:
    work = deployer(store)
    say(store)
    work.start(["r1:a"], Mode.REQUIRED, 1, "admin", 1001)
    with pytest.raises(PolicyError, match="under way"):
        work.start(["r3:b"], Mode.REQUIRED, 1, "admin", 1002)


def test_an_older_word_does_not_replace_a_newer_one_and_files_that_are_none_are_named(store: PolicyStore) -> None:
    folder = store.folder / "confirmations"
    say(store, "r1", version=9)
    with pytest.raises(PolicyError, match="already confirmed version 9"):
        say(store, "r1", version=8)
    (folder / "r2.confirmation").write_bytes((folder / "r1.confirmation").read_bytes())
    (folder / "r3.confirmation").write_bytes(b"nonsense")
    found, wrong = confirmation_folder.read(store.draft(), folder)
    assert set(found) == {"r1"}
    assert [each.split(":")[0] for each in wrong] == ["r2.confirmation", "r3.confirmation"]


def test_the_command_line_tells_who_is_waited_for_and_exits_with_1(
    store: PolicyStore, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            main(["--store", str(store.folder), *words])
        return int(left.value.code or 0), capsys.readouterr().out

    assert run("deploy", "plan", "r1:a")[1].splitlines()[0] == "   1  r1:a: clear -> listen; r2:a: clear -> listen"
    code, out = run("deploy", "start", "r1:a")
    assert (code, "r2 has confirmed nothing" in out) == (1, True)
    say(store)
    code, out = run("deploy", "start", "r1:a", "--who", "me", "--export", str(tmp_path / "out"), "--json")
    assert (code, json.loads(out)["left"]) == (0, 2)
    assert (tmp_path / "out" / "r1.cose").exists()
    code, out = run("deploy", "step")
    assert code == 1
    code, out = run("deploy", "status")
    assert "waiting: r1 has confirmed version 1, and not yet 2" in out
    code, out = run("deploy", "back")
    assert (code, "listen -> clear" in out) == (0, True)


def test_a_jump_of_modes_is_warned_of_before_a_commit(store: PolicyStore) -> None:
    after = domain(Mode.REQUIRED)
    assert len(rollout.jumps(store.domain(1), after)) == 7
    assert rollout.jumps(None, after) == []


def both(made: Domain) -> Domain:
    """Every interface speaks PIM as well."""
    protocols = {"protocols": (RoutingProtocol.OSPF, RoutingProtocol.PIM)}
    routers = {
        name: router.model_copy(update={"interfaces": tuple(i.model_copy(update=protocols) for i in router.interfaces)})
        for name, router in made.routers.items()
    }
    return made.model_copy(update={"routers": routers})


def test_protocols_are_deployed_one_after_the_other_and_the_one_that_is_not_named_stays(tmp_path: Path) -> None:
    store = PolicyStore.create(tmp_path / "store", both(domain()))
    store.commit("admin", "begin", 1000)
    work = deployer(store)
    say(store)
    done = work.start(["r1:a"], Mode.REQUIRED, 1, "admin", 1001, protocols=(RoutingProtocol.PIM,))
    assert [str(each) for each in done.step.changes] == [f"{router}:a pim: clear -> listen" for router in ("r1", "r2")]
    assert store.history()[0].why == "deploy pim/listen: r1:a -- r2:a"
    say(store, "r1")
    unmoved = InForce(name="a", mode=Mode.CLEAR, keyed=("r1",))
    say(store, "r2", interfaces=(unmoved,))
    with pytest.raises(Held, match="r2:a: pim is clear, not listen"):
        work.step("admin", 1002)
    say(store)
    while work.step("admin", 1003) is not None:
        say(store)
    entry = store.domain(store.version).router("r1").interface("a")
    assert entry is not None
    assert entry.by_protocol() == {RoutingProtocol.OSPF: Mode.CLEAR, RoutingProtocol.PIM: Mode.REQUIRED}
    assert work.status()["segments"][0]["modes"]["r1:a"] == "ospf clear, pim required"
    # Then all the rest: the interface comes back to one mode, and PIM is never asked for less than it was.
    work.start(["r1:a"], Mode.REQUIRED, 1, "admin", 1004)
    say(store)
    while work.step("admin", 1005) is not None:
        say(store)
    entry = store.domain(store.version).router("r1").interface("a")
    assert entry is not None and (entry.mode, entry.modes) == (Mode.REQUIRED, None)


@given(st.lists(st.tuples(st.sampled_from(list(Mode)), st.sampled_from([(), ("ospf",), ("pim",)])), max_size=6))
def test_from_any_modes_of_protocols_every_step_is_consistent_and_one_mode_further(
    given_: list[tuple[Mode, tuple[str, ...]]],
) -> None:
    made = both(domain())
    for mode, protocols in given_:
        for router, name in (("r1", "a"), ("r2", "a")):
            made = edit.set_mode(made, router, name, mode, [RoutingProtocol(each) for each in protocols])
    for only in ((), (RoutingProtocol.PIM,)):
        deployment = rollout.Deployment(goal=Mode.REQUIRED, segments=rollout.segments(made), protocols=only, at_once=2)
        now = made
        for step in rollout.steps(now, deployment):
            after = rollout.taken(now, step)
            assert rollout.jumps(now, after) == []
            validate(after)
            now = after
        assert {mode for each in rollout.segments(now) for mode in rollout.modes(now, each, only)} == {Mode.REQUIRED}


def test_the_command_line_sets_and_deploys_one_protocol(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "store"
    PolicyStore.create(folder, both(domain())).close()

    def policy(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as exit_:
            main(["--store", str(folder), *words])
        out = capsys.readouterr()
        return int(exit_.value.code or 0), out.out + out.err

    assert policy("commit", "-m", "begin")[0] == 0
    assert policy("interface", "mode", "r1:a", "listen", "--protocol", "pim") == (
        0, "~ interface r1:a: mode clear -> ospf clear, pim listen\n",
    )  # fmt: skip
    code, text = policy("interface", "mode", "r1:a", "listen", "--protocol", "pim6")
    assert code == 2 and "r1:a has no protocol pim6" in text and "ospf, pim" in text
    assert policy("interface", "mode", "r1:a", "required", "--protocol", "pim")[0] == 0
    code, text = policy("diff")
    assert code == 1 and "one end's pim is required and the other's clear" in text
    assert "r1:a pim goes from clear to required at once" in text
    assert policy("interface", "mode", "r1:a", "clear")[0] == 0
    code, text = policy("deploy", "plan", "r1:a", "--protocol", "pim")
    assert code == 0 and text.splitlines()[0].endswith("r1:a pim: clear -> listen; r2:a pim: clear -> listen")
    code, text = policy("deploy", "plan", "--protocol", "ospf6")
    assert code == 2 and "no interface with ospf6" in text


def test_another_issuer_of_one_protocol_is_said_in_one_form() -> None:
    made = edit.set_issuer(domain(), "dks", [RoutingProtocol.PIM])
    assert [(each.protocol.value, each.issuer) for each in made.settings.issuers or ()] == [("pim", "dks")]
    assert difference(domain(), made) == ["~ setting issuers: none -> pim dks"]
    for word in ("lks", "dks"):
        assert edit.set_issuer(made, word).settings.issuers is None
    back = edit.set_issuer(made, "lks", [RoutingProtocol.PIM])
    assert back == domain()
    central = made.model_copy(update={"settings": made.settings.model_copy(update={"local_key_server": False})})
    assert "issuer lks needs local_key_server" in problems(central)


@pytest.mark.parametrize(
    ("before", "after", "warned"),
    [
        ("off", "required", 1),
        ("required", "off", 1),
        ("off", "preferred", 0),
        ("preferred", "required", 0),
        ("required", "preferred", 0),
    ],
)
def test_a_jump_of_the_key_exchange_is_warned_of_before_a_commit(before: str, after: str, warned: int) -> None:
    made = domain(Mode.REQUIRED)
    ends = [
        edit.with_settings(made, made.settings.model_copy(update={"post_quantum": PostQuantum(each)}))
        for each in (before, after)
    ]
    found = rollout.jumps(*ends)
    assert len(found) == warned and all("preferred is the step between" in each for each in found)


def test_the_key_exchange_is_set_shown_and_committed_on_the_command_line(
    store: PolicyStore, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> tuple[object, str]:
        with pytest.raises(SystemExit) as left:
            main(["--store", str(store.folder), *words])
        return left.value.code, capsys.readouterr().out

    assert run("set", "post-quantum", "preferred") == (0, "nothing changed\n")
    assert run("set", "post-quantum", "off") == (0, "~ setting post-quantum: preferred -> off\n")
    assert json.loads(run("show", "--json")[1])["settings"]["post_quantum"] == "off"
    assert run("diff") == (0, "~ setting post-quantum: preferred -> off\n")
    assert run("commit", "-m", "old routers")[0] == 0
    assert {each.key_exchange for each in documents(store).values()} == {PostQuantum.OFF}
    run("set", "post-quantum", "required")
    assert "? post-quantum goes from off to required at once" in run("diff")[1]
