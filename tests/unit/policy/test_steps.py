"""One vocabulary of changes for the command line and the API; settings of the domain, of groups and of routers."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import TypeAdapter, ValidationError

from agents.ikev2.config import PostQuantum
from agents.policy import durations, steps
from agents.policy.cli import app, main
from agents.policy.compile import compile_documents
from agents.policy.difference import difference
from agents.policy.document import Lease
from agents.policy.domain import Domain, Settings
from agents.policy.errors import PolicyError
from agents.policy.keys import public_pem
from agents.policy.problems import problems
from agents.policy.revocation import key_hash
from agents.policy.store import PolicyStore
from testbed.simulation.network import Network
from testbed.simulation.parties import key

STEP: TypeAdapter[steps.EditStep] = TypeAdapter(steps.EditStep)
KINDS = get_args(get_args(steps.EditStep)[0])
ROW = {"a": ("r1", "r2"), "b": ("r2", "r3")}


def pair() -> Domain:
    return Network(ROW).domain


def taken(domain: Domain, *given: dict[str, Any]) -> Domain:
    return steps.take(domain, [STEP.validate_python(each) for each in given])


def pem(name: str) -> str:
    return public_pem(Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"!"))).decode()


def _verbs(command: Any, path: str = "") -> dict[str, Any]:
    if (below := getattr(command, "commands", None)) is None:
        return {path[1:]: command}
    return {name: each for word, sub in below.items() for name, each in _verbs(sub, f"{path}.{word}").items()}


_ANY: dict[str, dict[str, Any]] = {"set.issuer": {"issuer": "dks"}, "set.post-quantum": {"asked": "off"}}


def test_every_step_of_the_api_is_the_verb_of_that_name_on_the_command_line() -> None:
    verbs = _verbs(typer.main.get_command(app))
    ops = {kind.model_fields["op"].default for kind in KINDS}
    assert ops <= set(verbs)
    # And every verb below these nouns that does not only show is a step.
    nouns = {"router", "interface", "adjacency", "group", "rp", "admin", "set", "unset"}
    deprecated = {"issuer": "set.issuer", "post-quantum": "set.post-quantum"}
    assert all(
        verbs[old].deprecated and STEP.validate_python({"op": old, **_ANY[new]}) for old, new in deprecated.items()
    )
    changing = {verb for verb in verbs if verb.split(".")[0] in nouns and verb.split(".")[-1] not in ("list", "show")}
    assert changing - {"admin.delegate"} == ops  # which signs, and changes nothing


SAID: tuple[tuple[str, dict[str, Any]], ...] = (
    ("router add r9 --key r9.pub --room 8", {"op": "router.add", "name": "r9", "key": pem("r9"), "room": 8}),
    ("router replace r3 --key r9.pub", {"op": "router.replace", "name": "r3", "key": pem("r9")}),
    ("router remove r3", {"op": "router.remove", "name": "r3"}),
    ("interface change r3:r3-e0 --address 10.9.0.1/24 --lan --protocol ospf --protocol pim",
     {"op": "interface.change", "at": {"router": "r3", "interface": "r3-e0"}, "address": "10.9.0.1/24", "link": "lan",
      "protocols": ["ospf", "pim"]}),
    ("interface remove r3:r3-e0", {"op": "interface.remove", "at": {"router": "r3", "interface": "r3-e0"}}),
    ("interface mode r3:r3-e0 listen",
     {"op": "interface.mode", "at": {"router": "r3", "interface": "r3-e0"}, "mode": "listen"}),
    ("adjacency deny r2:r2-e1 r3:r3-e0", {"op": "adjacency.deny", "a": {"router": "r2", "interface": "r2-e1"},
      "b": {"router": "r3", "interface": "r3-e0"}}),
    ("rp set r3:10.0.0.3", {"op": "rp.set", "router": "r3", "address": "10.0.0.3"}),
    ("rp source r3 10.0.0.3", {"op": "rp.source", "router": "r3", "addresses": ["10.0.0.3"]}),
    ("rp mode permissive", {"op": "rp.mode", "mode": "permissive"}),
    ("admin add anna --key r9.pub", {"op": "admin.add", "name": "anna", "key": pem("r9")}),
    ("group add core r1 r2", {"op": "group.add", "name": "core", "routers": ["r1", "r2"]}),
    ("set lease 4h --at-end open", {"op": "set.lease", "seconds": "4h", "at_end": "open"}),
    ("set lease 14400 --router r1", {"op": "set.lease", "seconds": 14400, "routers": ["r1"]}),
    ("set reconnect --first-min 30s --first-max 5m --factor 1.5 --max 30m --jitter 0.1",
     {"op": "set.reconnect", "first_min_s": 30, "first_max_s": 300, "factor": 1.5, "max_s": "30m", "jitter": 0.1}),
    ("set validity 30d --router r2", {"op": "set.validity", "validity_s": "30d", "routers": ["r2"]}),
    ("set lifetimes --group 30m --ike 12h --atd 1s --dtd 4s",
     {"op": "set.lifetimes", "group_s": 1800, "ike_s": 43200, "atd_s": 1, "dtd_s": 4}),
    ("set suite esp-aes256-sha256", {"op": "set.suite", "suite": "esp-aes256-sha256"}),
    ("set issuer dks --protocol pim", {"op": "set.issuer", "issuer": "dks", "protocols": ["pim"]}),
    ("set generation-block 8", {"op": "set.generation-block", "size": 8}),
    ("set carries 32 --router r1", {"op": "set.carries", "count": 32, "routers": ["r1"]}),
    ("set post-quantum off --router r1", {"op": "set.post-quantum", "asked": "off", "routers": ["r1"]}),
    ("set dks --address 192.0.2.7 --address 2001:db8::7 --port 900",
     {"op": "set.dks", "addresses": ["192.0.2.7", "2001:db8::7"], "port": 900}),
)  # fmt: skip


@pytest.mark.parametrize(("typed", "sent"), SAID, ids=[typed for typed, _sent in SAID])
def test_what_is_typed_and_what_is_sent_give_the_same_domain(typed: str, sent: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "r9.pub").write_text(pem("r9"))
    PolicyStore.create(tmp_path / "store", pair()).close()
    words = [str(tmp_path / word) if word.endswith(".pub") else word for word in typed.split()]
    with pytest.raises(SystemExit) as left:
        main(["--store", str(tmp_path / "store"), *words])
    assert left.value.code == 0
    store = PolicyStore(tmp_path / "store")
    assert store.draft() == taken(pair(), sent) != pair()
    assert difference(pair(), store.draft()), "and the change is said"
    store.close()


def test_a_setting_is_the_router_s_own_else_its_group_s_else_the_domain_s() -> None:
    made = taken(
        pair(),
        {"op": "group.add", "name": "core", "routers": ["r1", "r2"]},
        {"op": "set.lease", "seconds": "20d", "at_end": "close"},
        {"op": "set.lease", "seconds": "10d", "groups": ["core"]},
        {"op": "set.lease", "seconds": "5d", "routers": ["r1"]},
    )
    documents = compile_documents(made, 1, 0)
    days = {name: (each.lease.seconds // 86400, each.lease.at_end) for name, each in documents.items()}
    assert days == {"r1": (5, "close"), "r2": (10, "close"), "r3": (20, "close")}
    assert dict(made.every_settings()) == {name: made.settings_of(name) for name in made.routers}
    assert "~ group core: lease the domain's -> 10d, then close" in difference(pair(), made)
    back = taken(made, {"op": "unset", "setting": "lease", "routers": ["r1"]})
    assert back.settings_of("r1").lease.seconds == 10 * 86400
    gone = taken(back, {"op": "group.remove", "name": "core"})
    assert gone.settings_of("r1").lease == Lease(seconds=20 * 86400, at_end="close")


def test_a_part_of_a_setting_keeps_the_other_parts_that_hold_there() -> None:
    made = taken(pair(), {"op": "set.reconnect", "max_s": "2h", "routers": ["r1"]})
    before, after = pair().settings.reconnect, made.settings_of("r1").reconnect
    assert after == before.model_copy(update={"max_s": 7200})
    assert made.settings_of("r2").reconnect == before


def test_two_groups_that_set_the_same_for_one_router_are_refused_unless_it_has_its_own() -> None:
    groups = [{"op": "group.add", "name": name, "routers": ["r1"]} for name in ("core", "edge")]
    both = [
        {"op": "set.validity", "validity_s": f"{days}d", "groups": [name]} for name, days in (("core", 9), ("edge", 8))
    ]
    with pytest.raises(PolicyError, match="r1 is in the groups core and edge, which both set validity; allowed"):
        taken(pair(), *groups, *both)
    made = taken(pair(), *groups, {"op": "set.validity", "validity_s": "7d", "routers": ["r1"]}, *both)
    assert made.settings_of("r1").validity_s == 7 * 86400
    assert made.longest_validity_s == pair().settings.validity_s


def test_steps_that_leave_settings_that_do_not_fit_together_are_refused_as_a_whole() -> None:
    short = {"op": "set.lease", "seconds": "10m", "routers": ["r1"]}
    with pytest.raises(
        PolicyError, match=r"r1: the lease of 10m is not longer than the wait .* up to 1h15m .* allowed"
    ):
        taken(pair(), short)
    sooner = {"op": "set.reconnect", "first_max_s": "2m", "max_s": "5m", "routers": ["r1"]}
    assert taken(pair(), short, sooner).settings_of("r1").lease.seconds == 600
    with pytest.raises(PolicyError, match="so keys would end before their successors are in use"):
        taken(pair(), {"op": "set.lifetimes", "group_s": 10, "dtd_s": 9})


def test_neighbours_must_be_alike_in_what_they_do_together() -> None:
    central = taken(pair(), {"op": "set.issuer", "issuer": "dks"}, {"op": "set.local-key-server", "on": False})
    mixed = taken(central, {"op": "set.local-key-server", "on": True, "routers": ["r1"]})
    assert problems(central) == [] and "one end has a Local Key Server and the other has none" in problems(mixed)[0]
    refusing = taken(
        pair(),
        {"op": "set.post-quantum", "asked": "required", "routers": ["r1"]},
        {"op": "set.post-quantum", "asked": "off", "routers": ["r2"]},
    )
    assert "they reject each other" in problems(refusing)[0]


def test_a_replaced_router_has_a_new_key_and_new_spis_and_keeps_all_else() -> None:
    new = Ed25519PrivateKey.from_private_bytes(b"r2".ljust(32, b"!"))
    made = taken(pair(), {"op": "router.replace", "name": "r2", "key": public_pem(new).decode()})
    before, after = pair().routers["r2"], made.routers["r2"]
    assert not after.approved and after.interfaces == before.interfaces and made.adjacencies == pair().adjacencies
    assert after.spi.base >= before.spi.base + before.spi.size and after.spi.size == before.spi.size
    assert [each.key for each in made.revoked_routers] == [key_hash(before.key)]
    assert set(compile_documents(made, 1, 0)) == {"r1", "r3"}, "nobody knows it before it is approved"
    approved = taken(made, {"op": "router.approve", "name": "r2", "key": public_pem(new).decode()})
    assert (
        problems(approved) == [] and compile_documents(approved, 1, 0)["r1"].interfaces[0].neighbors[0].router == "r2"
    )
    with pytest.raises(PolicyError, match="that key is revoked"):
        taken(made, {"op": "router.replace", "name": "r3", "key": public_pem(key("r2")).decode()})


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("4h", 14400), ("1d12h", 129600), ("0", 0)]
)
def test_times_are_read_with_their_units_and_written_so(text: str, seconds: int) -> None:
    assert durations.parse(text) == seconds and durations.parse(durations.spell(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "4 h", "h", "-1s", "4w", "1e3", "1.5h", "٤", "9" * 11, "1h" * 5])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; allowed: seconds, or numbers with s, m, h or d"):
        durations.parse(text)
    with pytest.raises(ValidationError):
        STEP.validate_python({"op": "set.lease", "seconds": text})


def test_the_store_is_shown_in_text_and_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = taken(pair(), {"op": "group.add", "name": "core", "routers": ["r1"]})
    PolicyStore.create(tmp_path, made).close()

    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as left:
            main(["--store", str(tmp_path), *words])
        assert left.value.code == 0
        return capsys.readouterr().out

    assert [each["name"] for each in json.loads(run("router", "list", "--json"))] == ["r1", "r2", "r3"]
    assert "r2:r2-e1 -- r3:r3-e0" in run("adjacency", "list") and "r1-e0" not in run("adjacency", "list", "r3")
    assert json.loads(run("interface", "list", "r2", "--json"))[1]["neighbors"] == ["r3:r3-e0"]
    assert json.loads(run("group", "show", "core", "--json")) == {"name": "core", "routers": ["r1"], "own": {}}
    shown = json.loads(run("router", "show", "r1", "--json"))
    assert (shown["groups"], shown["settings"]["post_quantum"]) == (["core"], PostQuantum.PREFERRED.value)
    text = run("show")
    assert "3 routers, 3 of them approved; 2 adjacencies; 1 groups" in text
    assert all(field in text for field in ("lease", "reconnect", "validity", "issuer", "suite", "lifetimes"))
    assert set(json.loads(run("show", "--json"))["settings"]) == set(Settings.model_fields)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("terminal", "answer", "code"), [(True, "y\n", 0), (True, "n\n", 2), (False, "", 0)])
def test_a_commit_that_revokes_a_key_asks_on_a_terminal_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool, answer: str, code: int
) -> None:
    store = PolicyStore.create(tmp_path, pair())
    store.commit("me", "first", 1000)
    store.edit(taken(store.draft(), {"op": "router.remove", "name": "r3"}))
    monkeypatch.setattr("sys.stdin", _Terminal(answer) if terminal else io.StringIO(answer))
    with pytest.raises(SystemExit) as left:
        main(["--store", str(tmp_path), "commit", "-m", "r3 is sold", "--who", "me"])
    assert left.value.code == code
    assert store.version == (2 if code == 0 else 1)
    store.close()


def test_steps_in_a_file_are_taken_all_or_none_and_a_wrong_line_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = PolicyStore.create(tmp_path / "store", pair())
    (tmp_path / "r9.pub").write_text(pem("r9"))
    good = f"# two of them\nrouter add r9 --key {tmp_path / 'r9.pub'}\n\ngroup add core r1 r9  # and r9\nset lease 4h"

    def run(text: str) -> tuple[object, str]:
        (tmp_path / "steps").write_text(text)
        with pytest.raises(SystemExit) as left:
            main(["--store", str(tmp_path / "store"), "apply", str(tmp_path / "steps")])
        captured = capsys.readouterr()
        return left.value.code, captured.out + captured.err

    for wrong, told in (
        ("router remove r8", "steps:6: there is no router 'r8'"),
        ("commit -m now", "steps:6: 'commit -m now' is not a command that changes the draft"),
        ("router list", "steps:6: the command makes no change to the draft"),
        ("set lease soon", "steps:6: TIME is 'soon'"),
        ("set lease 'soon", "steps:6: No closing quotation"),
        ("adjacency allow r1:r1-e0", "steps:6: Missing argument"),
    ):
        code, text = run(f"{good}\n{wrong}\n")
        assert code == 2 and told in text and store.draft() == pair()
    assert run(f"{good}\nset reconnect --max 8h")[0] == 2, "settings that do not fit together in the end"
    code, text = run(good)
    assert code == 0 and text.startswith("3 steps\n+ router r9 (not approved)\n")
    assert store.draft().group("core").routers == ("r1", "r9") and store.draft().settings.lease.seconds == 14400
    store.close()


def test_a_store_of_the_release_before_is_taken_over_with_its_history(tmp_path: Path) -> None:
    store = PolicyStore.create(tmp_path, pair())
    store.commit("me", "first", 1000)
    store.close()
    with closing(sqlite3.connect(tmp_path / "policy.db")) as db:
        db.executescript("DROP TRIGGER versions_stay;")  # so that the domain has what it had then
        for table in ("versions", "draft"):
            (text,) = db.execute(f"SELECT domain FROM {table}").fetchone()
            older = json.loads(text)
            del older["groups"]
            for router in older["routers"].values():
                del router["own"]
            text = json.dumps(older, separators=(",", ":"))
            db.execute(f"UPDATE {table} SET domain = ?", (text,))
            if table == "versions":
                db.execute("UPDATE versions SET digest = ?", (hashlib.sha256(text.encode()).hexdigest(),))
        db.execute("PRAGMA user_version = 3")
        db.commit()
    again = PolicyStore(tmp_path)
    assert again.draft() == again.domain(1) == taken(again.draft()) and again.verify() == []
    again.edit(taken(again.draft(), {"op": "group.add", "name": "core", "routers": ["r1"]}))
    again.close()
    with closing(sqlite3.connect(tmp_path / "policy.db")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (4,)
