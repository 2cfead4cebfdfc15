"""The HTTP API through its real stack: who may do what, what is refused, and that nothing goes unseen."""

from __future__ import annotations

import base64
import logging
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from agents.policy import confirmation_folder
from agents.policy.api.app import create_app
from agents.policy.api.tokens import Role, TokenStore
from agents.policy.cli import main
from agents.policy.confirmation import Confirmation, InForce, sign_confirmation
from agents.policy.document import verify_document
from agents.policy.errors import PolicyError
from agents.policy.keys import public_pem
from agents.policy.serve_cli import check_listening
from agents.policy.store import PolicyStore
from tests.unit.policy.test_rollout import domain, key

HOST = "policy.example"
Api = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = PolicyStore.create(tmp_path / "store", domain())
    store.commit("admin", "begin", 1000)
    store.close()
    return tmp_path / "store"


@pytest.fixture
def tokens(folder: Path) -> dict[str, str]:
    store = TokenStore(folder)
    return {role.value: store.add(f"a-{role.value}", role, 1000) for role in Role}


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    with TestClient(create_app(folder, [HOST]), base_url=f"https://{HOST}", raise_server_exceptions=False) as made:
        yield made


@pytest.fixture
def api(client: TestClient, tokens: dict[str, str]) -> Api:
    def ask(method: str, path: str, role: str | None = "write", **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {tokens[role]}"} if role else {}
        return client.request(method, f"/v1{path}", headers={**headers, **more.pop("headers", {})}, **more)

    return ask


def mode(router: str = "r1", value: str = "listen") -> dict[str, object]:
    return {"op": "interface.mode", "at": {"router": router, "interface": "a"}, "mode": value}


def word(folder: Path, router: str, version: int | None = None, by: str | None = None) -> bytes:
    store = PolicyStore(folder)
    document = verify_document(store.documents()[router], store.public_key, domain="example")
    store.close()
    states = tuple(
        InForce(name=i.name, mode=i.mode, keyed=tuple(sorted(n.router for n in i.neighbors if i.mode.step)))
        for i in document.interfaces
    )
    said = Confirmation(domain="example", router=router, version=version or document.version, at=1, interfaces=states)
    return sign_confirmation(said, key(by or router))


READS = ["/removal/r1", "/domain", "/draft", "/diff", "/history", "/confirmations", "/rollout"]
FETCHES = ["/documents", "/documents/r1", "/public-key", "/revocation"]
WRITES = ["/renewals", "/draft/edits", "/commits", "/rollback", "/rollout/start", "/rollout/step", "/rollout/back"]


def test_without_a_valid_token_nothing_is_answered(client: TestClient, tokens: dict[str, str]) -> None:
    wrong = ["", "Bearer", "Bearer ", "Bearer rkp_x", f"Basic {tokens['write']}", f"Bearer {tokens['write']}x",
             f"Bearer {tokens['write'][:-1]}", tokens["write"]]  # fmt: skip
    for path in [*READS, *FETCHES]:
        assert client.get(f"/v1{path}").status_code == 401
    for header in wrong:
        answer = client.get("/v1/domain", headers={"Authorization": header})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    for path in [*WRITES, "/confirmations", "/rollout/plan"]:
        assert client.post(f"/v1{path}", json={}).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/commits", b"{"), ("POST", "/commits", b"\xff"), ("POST", "/draft/edits", b'{"edits": 1}'),
        ("POST", "/rollout/start", b""), ("GET", "/domain?version=x", b""), ("GET", "/documents/..%2f", b""),
        ("POST", "/confirmations", bytes(60_000)), ("PATCH", "/commits", b"{"), ("GET", "/nothing", b""),
    ],
)  # fmt: skip
def test_a_stranger_is_told_nothing_of_what_is_wrong_with_a_request(
    client: TestClient, method: str, path: str, body: bytes
) -> None:
    for headers in ({}, {"Authorization": "Bearer rkp_x"}):
        answer = client.request(method, f"/v1{path}", content=body, headers=headers)
        assert answer.status_code == 401 and answer.json() == {"error": "a valid bearer token is needed"}


def test_a_strangers_body_is_not_read(client: TestClient) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(64):
            taken += 1 << 16
            yield bytes(1 << 16)

    answer = client.post("/v1/commits", content=endless())
    assert answer.status_code == 401 and answer.headers["connection"] == "close"


def test_a_request_with_two_tokens_is_a_strangers(client: TestClient, tokens: dict[str, str]) -> None:
    twice = [("Authorization", f"Bearer {tokens[each]}") for each in ("read", "write")]
    assert client.get("/v1/domain", headers=twice).status_code == 401


def test_a_token_does_what_its_role_says_and_no_more(api: Api) -> None:
    for role, may in (("read", {*READS, *FETCHES}), ("write", {*READS, *FETCHES}), ("confirm", {*FETCHES})):
        for path in [*READS, *FETCHES]:
            assert (api("GET", path, role).status_code != 403) is (path in may), (role, path)
        for path in WRITES:
            assert (api("POST", path, role, json={}).status_code == 403) is (role != "write")
        assert (api("POST", "/confirmations", role, content=b"x").status_code == 403) is (role != "confirm")


def test_a_revoked_token_is_refused_at_once(api: Api, folder: Path) -> None:
    assert api("GET", "/domain", "read").status_code == 200
    TokenStore(folder).revoke("a-read")
    assert api("GET", "/domain", "read").status_code == 401


def test_only_hashes_of_tokens_are_on_the_disk_and_no_log_or_answer_holds_one(
    api: Api, folder: Path, tokens: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        answers = [api("GET", path).text for path in READS]
        answers += [api("POST", "/commits", json={"why": tokens["read"], "expected": "x"}).text]
        answers += [api("GET", "/domain", "read", headers={"Authorization": f"Bearer {tokens['write']}~"}).text]
    kept = b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())
    assert "POST /v1/commits by a-write" in caplog.text
    for token in tokens.values():
        assert token.encode() not in kept
        assert token not in caplog.text
        assert not any(token in each for each in answers)
    assert stat.S_IMODE((folder / "tokens.json").stat().st_mode) == 0o600
    os.chmod(folder / "tokens.json", 0o644)
    unread = api("GET", "/domain")
    assert unread.status_code == 503 and str(folder) not in unread.text and "tokens.json" in caplog.text


def test_edits_are_taken_all_or_none_and_a_commit_says_who_and_why(api: Api, folder: Path) -> None:
    steps = [mode("r1"), mode("r9")]
    assert api("POST", "/draft/edits", json={"steps": steps}).status_code == 422
    assert api("GET", "/diff").json()["changes"] == []
    steps = [mode("r1"), mode("r2"), {"op": "router.add", "name": "r5", "key": public_pem(key("r5")).decode()}]
    answer = api("POST", "/draft/edits", json={"steps": steps})
    assert (answer.status_code, len(answer.json()["changes"])) == (200, 3)
    done = api("POST", "/commits", json={"why": "begin with a", "expected": 1})
    assert (done.status_code, done.json()["documents"]) == (200, ["r1", "r2"])
    newest = api("GET", "/history").json()[0]
    assert (newest["version"], newest["who"], newest["why"]) == (2, "a-write", "begin with a")
    store = PolicyStore(folder)
    signed = api("GET", "/documents/r1", "confirm").content
    assert verify_document(signed, store.public_key, domain="example", router="r1").version == 2
    assert base64.b64decode(api("GET", "/documents").json()["documents"]["r1"]) == signed
    assert api("POST", "/rollback", json={"version": 1}).status_code == 200
    assert api("POST", "/commits", json={"why": "back", "expected": 2}).status_code == 200


def test_the_key_exchange_is_a_step_and_goes_into_every_document(api: Api, folder: Path) -> None:
    wrong = [{"op": "set.post-quantum", "asked": "always"}]
    assert api("POST", "/draft/edits", json={"steps": wrong}).status_code == 422
    answer = api("POST", "/draft/edits", json={"steps": [{"op": "set.post-quantum", "asked": "required"}]})
    assert answer.json()["changes"] == ["~ setting post-quantum: preferred -> required"]
    done = api("POST", "/commits", json={"why": "quantum computers", "expected": 1}).json()
    assert done["documents"] == sorted(api("GET", "/documents").json()["documents"])
    assert api("GET", "/domain").json()["domain"]["settings"]["post_quantum"] == "required"
    signed = api("GET", "/documents/r1", "confirm").content
    key = PolicyStore(folder).public_key
    assert verify_document(signed, key, domain="example", router="r1").key_exchange.value == "required"


def test_of_commits_at_the_same_time_one_wins_and_the_others_are_told(api: Api) -> None:
    digest = api("POST", "/draft/edits", json={"steps": [mode("r1"), mode("r2")]}).json()["draft"]
    body = {"why": "race", "expected": 1, "draft": digest}
    with ThreadPoolExecutor(8) as pool:
        codes = sorted(each.status_code for each in pool.map(lambda _: api("POST", "/commits", json=body), range(8)))
    assert codes == [200] + [409] * 7
    assert [each["version"] for each in api("GET", "/history").json()] == [2, 1]


def test_a_draft_that_somebody_else_changed_is_neither_edited_nor_committed(api: Api) -> None:
    seen = api("GET", "/draft").json()["draft"]
    api("POST", "/draft/edits", json={"steps": [mode("r1"), mode("r2")]})
    assert api("POST", "/draft/edits", json={"steps": [mode("r3")], "draft": seen}).status_code == 409
    assert api("POST", "/commits", json={"why": "x", "expected": 1, "draft": seen}).status_code == 409


def test_confirmations_are_taken_when_the_router_signed_them(api: Api, folder: Path) -> None:
    answer = api("POST", "/confirmations", "confirm", content=word(folder, "r1"))
    assert (answer.status_code, answer.json()) == (200, {"router": "r1", "version": 1})
    assert api("POST", "/confirmations", "confirm", content=word(folder, "r2", by="r1")).status_code == 422
    assert api("POST", "/confirmations", "confirm", content=word(folder, "r1", version=9)).status_code == 200
    assert api("POST", "/confirmations", "confirm", content=word(folder, "r1")).status_code == 422  # older
    assert [each.name for each in (folder / confirmation_folder.FOLDER).iterdir()] == ["r1.confirmation"]
    found = api("GET", "/confirmations").json()["routers"]
    assert (found["r1"]["missing"], found["r2"]["missing"]) == ([], ["r2 has confirmed nothing"])


def test_a_deployment_is_driven_and_held_over_the_api(api: Api, folder: Path) -> None:
    plan = api("POST", "/rollout/plan", "read", json={"segments": ["r1:a"]}).json()
    assert len(plan["steps"]) == 3
    held = api("POST", "/rollout/start", json={"segments": ["r1:a"]})
    assert (held.status_code, held.json()["waiting_for"][0]) == (409, "r1 has confirmed nothing")
    for name in ("r1", "r2"):
        api("POST", "/confirmations", "confirm", content=word(folder, name))
    assert api("POST", "/rollout/start", json={"segments": ["r1:a"]}).json()["left"] == 2
    assert api("POST", "/rollout/step", json={}).status_code == 409
    assert api("GET", "/history").json()[0]["who"] == "a-write"
    assert api("POST", "/rollout/back", json={}).json()["changes"][0] == "r1:a: listen -> clear"
    assert api("GET", "/rollout", "read").json()["done"] is False


@pytest.mark.parametrize(
    "name", ["../key.pem", "..%2fkey.pem", "%2e%2e/key.pem", "r1%00", "r1%0a", ".r1", "r1.cose/../../key.pem", "r" * 70]
)
def test_names_that_are_none_lead_nowhere(api: Api, name: str) -> None:
    answer = api("GET", f"/documents/{name}", "read")
    assert answer.status_code in (404, 422)
    assert b"PRIVATE" not in answer.content


@pytest.mark.parametrize("body", [
    {"why": "", "expected": 1}, {"why": "x" * 1001, "expected": 1}, {"why": "x"}, {"why": "x", "expected": -1},
    {"why": "x", "expected": 1, "force": True}, [], "x", None,
])  # fmt: skip
def test_a_body_of_another_form_is_refused(api: Api, body: object) -> None:
    assert api("POST", "/commits", json=body).status_code == 422


def test_a_body_that_is_too_long_is_not_read_to_its_end(api: Api, client: TestClient, tokens: dict[str, str]) -> None:
    assert api("POST", "/confirmations", "confirm", content=bytes(2 << 20)).status_code == 413
    assert api("POST", "/confirmations", "confirm", content=bytes(60_000)).status_code == 413
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while taken < 64 << 20:
            taken += 1 << 16
            yield bytes(1 << 16)

    assert api("POST", "/commits", content=endless()).status_code == 413
    assert api("GET", "/domain?version=" + "1" * 4000).status_code == 414


def test_other_hosts_and_pages_of_other_origins_are_refused(api: Api) -> None:
    for headers, status in (
        ({"Host": "evil.example"}, 421),
        ({"Host": ""}, 421),
        ({"Host": f"{HOST}:8484"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": f"https://{HOST}"}, 200),
    ):
        assert api("GET", "/domain", headers=headers).status_code == status, headers


def test_a_request_for_two_hosts_or_none_is_refused(client: TestClient, tokens: dict[str, str]) -> None:
    for hosts in ([HOST, HOST], [HOST, "evil.example"]):
        headers = [("Authorization", f"Bearer {tokens['read']}"), *(("Host", each) for each in hosts)]
        assert client.get("/v1/domain", headers=headers).status_code == 421


def test_the_description_is_served_and_names_every_address(client: TestClient) -> None:
    found = client.get("/v1/openapi.json").json()["paths"]
    assert {f"/v1{path.replace('r1', '{name}')}" for path in [*READS, *FETCHES, *WRITES]} <= set(found)
    assert client.get("/docs").status_code == 404
    assert client.get("/v1/openapi.json").headers["x-content-type-options"] == "nosniff"


def test_it_listens_beyond_the_loopback_with_tls_only(tmp_path: Path) -> None:
    secret = tmp_path / "key.pem"
    secret.write_text("x")
    secret.chmod(0o600)
    check_listening("127.0.0.1", None, None)
    check_listening("::1", None, None)
    check_listening("0.0.0.0", tmp_path, secret)
    for host in ("0.0.0.0", "192.0.2.1", "::", "policy.example", "localhost.example"):
        with pytest.raises(PolicyError, match="in clear"):
            check_listening(host, None, None)
    with pytest.raises(PolicyError, match="both"):
        check_listening("127.0.0.1", tmp_path, None)
    secret.chmod(0o640)
    with pytest.raises(PolicyError, match="0600"):
        check_listening("0.0.0.0", tmp_path, secret)


def test_tokens_are_made_listed_and_revoked_at_the_command_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            main(["--store", str(folder), "token", *words])
        return int(left.value.code or 0), capsys.readouterr().out.strip()

    code, made = run("add", "dks", "--role", "confirm")
    assert (code, len(made)) == (0, 47)
    assert TokenStore(folder).find(made).role is Role.CONFIRM  # type: ignore[union-attr]
    assert run("add", "dks", "--role", "read")[0] == 2
    assert run("add", "a/b", "--role", "read")[0] == 2
    assert made not in run("list")[1]
    assert run("revoke", "dks")[0] == 0
    assert (TokenStore(folder).find(made), run("revoke", "dks")[0]) == (None, 2)
