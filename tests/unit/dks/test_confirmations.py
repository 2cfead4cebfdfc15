"""Routers confirm what is in force; the DKS verifies, keeps and shows it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from agents.dks.confirmations_cli import export
from agents.dks.documents import Documents
from agents.dks.received_confirmations import FOLDER, Confirmations, TooOften, kept
from agents.dks.serve import _Folder
from agents.ipsec.protection import Mode
from agents.lks.own_confirmation import MIN_S
from agents.policy import edit
from agents.policy.confirmation import Confirmation, InForce, sign_confirmation, verify_confirmation
from agents.policy.delegation import Delegation, join, sign_delegation
from agents.policy.document import Reconnect, sign_document
from agents.policy.domain import Domain, Settings
from agents.policy.errors import PolicyError
from agents.policy.keys import spki
from agents.policy.revocation import Revoked, key_hash, make_list, sign_list
from agents.runtime.effects import Persist
from agents.runtime.events import EventLog
from agents.runtime.storage import write_atomic
from testbed.simulation.network import Network, ring
from testbed.simulation.parties import POLICY_SERVER, key

MAX_VERSION = (1 << 63) - 1
SOON = Settings(validity_s=1 << 33, reconnect=Reconnect(first_min_s=1, first_max_s=3, max_s=10))


def network(settings: Settings = SOON, loss: float = 0.0) -> Network:
    made = Network(ring(4), settings=settings, dks=True, loss=loss)
    made.power_on_all()
    return made


def everywhere(domain: Domain, mode: Mode) -> Domain:
    for router in list(domain.routers.values()):
        for interface in router.interfaces:
            domain = edit.set_mode(domain, router.name, interface.name, mode)
    return domain


def complete(net: Network) -> bool:
    core = net.nodes["dks"].core
    return core is not None and core.command(["status"], net.now)["confirmed"]["complete"] == len(net.routers)


def lacking(net: Network, router: str) -> list[str]:
    confirmations = net.nodes["dks"].core.command(["confirmations"], net.now)["routers"][router]["missing"]
    return list(confirmations)


@pytest.mark.parametrize("issuer", ["lks", "dks"])
@pytest.mark.parametrize("loss", [0.0, 0.15])
def test_every_router_confirms_when_it_is_keyed_and_every_new_policy_again(issuer: str, loss: float) -> None:
    settings = SOON.model_copy(update={"issuer": issuer, "local_key_server": issuer == "lks"})
    net = network(settings, loss)
    assert net.run(60, lambda: complete(net))
    for mode in (Mode.PERMISSIVE, Mode.LISTEN, Mode.CLEAR, Mode.LISTEN):
        net.publish(everywhere(net.domain, mode))
        assert not net.run(net.now + 0.001, lambda: not net.fresh)  # the DKS has not looked yet
        assert net.run(net.now + 60, lambda: complete(net) and not net.fresh)
        for name in net.routers:
            said = net.nodes["dks"].core.command(["confirmations"], net.now)["routers"][name]["said"]
            assert {each["mode"] for each in said["interfaces"]} == {mode.value}


def test_a_neighbour_without_power_is_missing_by_name_and_comes_back() -> None:
    net = network()
    assert net.run(60, lambda: complete(net))
    net.power_off("r3")
    net.publish(everywhere(net.domain, Mode.PERMISSIVE))
    net.run(net.now + 200)
    assert lacking(net, "r3") == ["r3 has confirmed version 1, and not yet 2"]
    net.power_on("r3")
    assert net.run(net.now + 60, lambda: complete(net))


def test_a_router_confirms_the_revocation_list_that_it_acts_on() -> None:
    net = network()
    assert net.run(60, lambda: complete(net))
    net.remove("r3")
    net.run(net.now + 60)
    said = net.nodes["dks"].core.command(["confirmations"], net.now)["routers"]
    assert {name: said[name]["said"]["revocation"] for name in ("r1", "r2", "r4")} == {"r1": 1, "r2": 1, "r4": 1}


def test_a_kernel_that_refuses_is_not_confirmed() -> None:
    net = network()
    assert net.run(60, lambda: complete(net))
    core = net.lks("r1")
    core.enforced(None, net.now)
    net.nodes["r1"].core.tick(net.now)
    net.after(net.nodes["r1"])
    net.run(net.now + 10)
    assert lacking(net, "r1") == ["r1:r1-e0 has no policy in force", "r1:r1-e1 has no policy in force"]


def test_a_quiet_network_says_nothing_and_a_restless_one_not_too_often() -> None:
    net = network()
    assert net.run(60, lambda: complete(net))
    net.run(net.now + 5)
    taken = len(net.seen("confirmed", "dks"))
    net.run(net.now + 600)
    assert len(net.seen("confirmed", "dks")) == taken
    began = net.now
    for number in range(40):  # the link to r2 is keyed and not keyed, for half a second each
        net.at(began + number / 2, lambda number=number: flap(net, bool(number % 2)))
    net.run(began + 25)
    pushed = [each.t for each in net.seen("confirmed", "r1") if each.t > began]
    assert 2 <= len(pushed) <= 25 / MIN_S + 2
    assert complete(net)


_AWAY: dict[object, dict[str, object]] = {}


def flap(net: Network, there: bool) -> None:
    """Take the members of r1's first link away, or give them back."""
    for group, speaker in net.lks("r1").link["r1-e0"].speakers.items():
        if there:
            speaker.members.update(_AWAY.pop(group, {}))  # type: ignore[arg-type]
        else:
            _AWAY[group] = dict(speaker.members)
            speaker.members.clear()
    net.nodes["r1"].core.tick(net.now)
    net.after(net.nodes["r1"])


def test_the_dks_keeps_them_through_a_restart() -> None:
    net = network()
    assert net.run(60, lambda: complete(net))
    files = {name.split("/")[1]: data for name, data in net.nodes["dks"].files.items() if name.startswith(FOLDER)}
    assert sorted(files) == [f"{name}.confirmation" for name in net.routers]
    documents = net.held()
    again = Confirmations(
        "example", documents, {name.split(".")[0]: data for name, data in files.items()}, lambda _e: None
    )
    assert again.count() == (4, 4)


# -- the ledger by itself ------------------------------------------------------------------------------------


def ledger() -> tuple[Confirmations, list[Persist], Network]:
    net = Network(ring(3), settings=SOON)
    documents = net.held()
    written: list[Persist] = []
    return Confirmations("example", documents, {}, written.append), written, net


def statement(version: int, mode: Mode | None = Mode.REQUIRED, by: str = "r1", of: str = "r1") -> bytes:
    state = InForce(name="r1-e0", mode=mode, keyed=())
    said = Confirmation(domain="example", router=of, version=version, at=1, interfaces=(state,))
    return sign_confirmation(said, key(by))


def test_only_the_router_s_own_word_is_taken_and_no_older_one() -> None:
    confirmations, written, _net = ledger()
    for wrong in (statement(1, by="r2"), statement(1, of="r2"), b"", statement(1)[:-1]):
        with pytest.raises(PolicyError):
            confirmations.take(wrong, "r1", None)
    with pytest.raises(PolicyError, match="no document"):
        confirmations.take(statement(1, by="r9", of="r9"), "r9", None)
    assert written == []
    assert confirmations.take(statement(2), "r1", None) is not None
    with pytest.raises(PolicyError, match="already confirmed version 2"):
        confirmations.take(statement(1), "r1", None)
    assert confirmations.take(statement(2), "r1", None) is None  # says nothing new
    assert [each.name for each in written] == ["confirmations/r1.confirmation"]


def test_the_last_word_of_a_key_that_was_replaced_binds_nobody_and_counts_for_nobody() -> None:
    confirmations, _written, net = ledger()
    assert confirmations.take(statement(MAX_VERSION), "r1", None) is not None
    new = key("r1, new machine")
    replaced = net.documents["r1"].model_copy(update={"identity": spki(new), "version": 2})
    confirmations._documents.add(sign_document(replaced, POLICY_SERVER))
    assert confirmations.status()["r1"]["said"] is None and confirmations.status()["r1"]["missing"] == [
        "r1 has confirmed nothing"
    ]
    state = InForce(name="r1-e0", mode=Mode.REQUIRED, keyed=())
    said = Confirmation(domain="example", router="r1", version=2, at=1, interfaces=(state,))
    assert confirmations.take(sign_confirmation(said, new), "r1", None) == said
    with pytest.raises(PolicyError):
        confirmations.take(statement(MAX_VERSION), "r1", None)  # and it says nothing more


def test_a_document_of_a_revoked_administrator_keeps_no_older_one_out_of_the_dks(tmp_path: Path) -> None:
    """Whichever comes first, the list or the root key's next document."""
    net, rogue = Network(ring(3), settings=SOON), key("rogue administrator")
    word_of = Delegation(domain="example", name="rogue", key=spki(rogue), issued_at=0, expires_at=1 << 30)
    last = net.documents["r1"].model_copy(update={"version": MAX_VERSION})
    of_rogue = join(sign_delegation(word_of, POLICY_SERVER), sign_document(last, rogue))
    revocation = make_list("example", 1, 0, (), [Revoked(name="rogue", key=key_hash(spki(rogue)))])
    documents = Documents("example", POLICY_SERVER.public_key())
    folder = _Folder(tmp_path, documents, EventLog(None, "dks"))
    (tmp_path / "rogue.cose").write_bytes(of_rogue)
    (tmp_path / "root.cose").write_bytes(net.signed["r1"])
    folder()
    confirmations = documents.of("r1")
    assert confirmations is not None and confirmations.version == MAX_VERSION
    documents.revocations.take(sign_list(revocation, POLICY_SERVER))
    assert documents.drop_revoked() == ["r1"]
    assert [each.version for each in folder()] == [1], "the folder is read again though nothing in it has changed"
    assert folder() == []


def test_who_pushes_too_often_has_to_wait() -> None:
    confirmations, _written, _net = ledger()
    confirmations.take(statement(1), "r1", 10.0)
    with pytest.raises(TooOften):
        confirmations.take(statement(1, Mode.LISTEN), "r1", 10.1)
    assert confirmations.take(statement(1, Mode.LISTEN), "r1", 10.7) is not None


def test_files_are_exported_as_they_were_signed_and_read_back(tmp_path: Path) -> None:
    confirmations, _written, _net = ledger()
    confirmations.take(statement(4), "r1", None)
    export({"routers": confirmations.status()}, tmp_path)
    (path,) = tmp_path.iterdir()
    said = verify_confirmation(path.read_bytes(), key("r1").public_key(), domain="example", router="r1")
    assert said.version == 4
    assert kept(tmp_path) == {"r1": path.read_bytes()}
    hostile = {"routers": {"../r1": {"signed": "AAAA"}}}
    with pytest.raises(PolicyError):
        export(hostile, tmp_path / "b")


def test_what_another_process_has_taken_counts_against_an_older_word(tmp_path: Path) -> None:
    net = Network(ring(3), settings=SOON)
    documents = net.held()
    here, there = (
        Confirmations("example", documents, {}, lambda each: write_atomic(tmp_path / each.name, each.data), look)
        for look in (partial(kept, tmp_path / FOLDER), partial(kept, tmp_path / FOLDER))
    )
    (tmp_path / FOLDER).mkdir()
    assert there.take(statement(2), "r1", None) is not None
    with pytest.raises(PolicyError, match="already confirmed version 2"):
        here.take(statement(1), "r1", None)
    assert here.take(statement(2), "r1", None) is None
    here.look()
    assert here.status()["r1"]["said"]["version"] == 2
