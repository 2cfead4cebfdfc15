"""The DKS's way to the Policy Server: against the real API, and against servers that lie, redirect or fail."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi.testclient import TestClient

from agents.dks.config import read_config
from agents.dks.policy_client import LONGEST_S, PERIOD_S, Folders, PolicyClient
from agents.dks.policy_http import PolicyHttp, PolicyServerError
from agents.policy import edit
from agents.policy.api.app import create_app
from agents.policy.api.tokens import Role, TokenStore
from agents.policy.delegation import Delegation, join, sign_delegation
from agents.policy.document import sign_document, verify_document
from agents.policy.keys import read_private_key, spki
from agents.policy.revocation import FILE as REVOCATION
from agents.policy.revocation import Revoked, key_hash, make_list, sign_list
from agents.policy.store import PolicyStore
from agents.runtime.settings import ConfigError
from tests.unit.policy.test_rollout import domain, say

HOST = "policy.example"


class Setup:
    """A Policy Server with its API, and a DKS's folders."""

    def __init__(self, folder: Path) -> None:
        self.store = PolicyStore.create(folder / "store", domain())
        self.store.commit("admin", "begin", 1000)
        token = TokenStore(self.store.folder).add("dks", Role.CONFIRM, 1)
        http = TestClient(create_app(self.store.folder, [HOST]), base_url=f"https://{HOST}")
        headers = {"Authorization": f"Bearer {token}"}
        self.fail_with = 0
        self.asked: list[str] = []

        def ask(method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
            self.asked.append(f"{method} {path}")
            if self.fail_with:
                return self.fail_with, b""
            answer = http.request(method, path, content=body, headers=headers)
            return answer.status_code, answer.content

        self.places = Folders(folder / "documents", folder / "confirmations")
        self.places.documents.mkdir()
        self.ask = ask
        self.client = PolicyClient(ask, self.places, "example", self.store.public_key)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.places.documents.iterdir())


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_documents_and_revocations_come_down_once_and_newer_ones_again(setup: Setup) -> None:
    assert [each.fields for each in setup.client.round()] == [{"documents": 4}]
    assert setup.names() == ["r1.cose", "r2.cose", "r3.cose", "r4.cose"]
    assert setup.client.round() == []
    setup.store.edit(edit.remove_router(setup.store.draft(), "r4"))
    setup.store.commit("admin", "r4 is out", 1001)
    assert [each.fields for each in setup.client.round()] == [{"revocation": 1}, {"documents": 2}]
    signed = setup.store.documents()["r1"]
    assert (setup.places.documents / "r1.cose").read_bytes() == signed


def test_confirmations_go_up_once_each_and_again_when_they_change(setup: Setup) -> None:
    say(setup.store)  # into the store's folder: taken from there as a DKS would have them
    (setup.store.folder / "confirmations").rename(setup.places.confirmations)
    passed = [each.fields["peer"] for each in setup.client.round() if each.kind == "confirmation_passed_on"]
    assert passed == ["r1", "r2", "r3", "r4"]
    assert sorted(path.name for path in (setup.store.folder / "confirmations").iterdir())[0] == "r1.confirmation"
    setup.asked.clear()
    setup.client.round()
    assert not [each for each in setup.asked if each.startswith("POST")]


def test_a_confirmation_that_is_refused_is_told_once_and_holds_up_nobody(setup: Setup) -> None:
    say(setup.store, "r2")
    (setup.store.folder / "confirmations").rename(setup.places.confirmations)
    (setup.places.confirmations / "r1.confirmation").write_bytes(b"nonsense")
    kinds = [each.kind for each in setup.client.round()]
    assert kinds == ["policy_fetched", "error", "confirmation_passed_on"]
    assert setup.client.round() == []


def test_what_a_lying_server_gives_is_not_written(setup: Setup, tmp_path: Path) -> None:
    setup.client.round()
    before = {name: (setup.places.documents / name).read_bytes() for name in setup.names()}
    real = setup.store.documents()
    other = PolicyStore.create(tmp_path / "other", domain())
    other.commit("x", "x", 1000)
    other.edit(edit.deny(other.draft(), ("r1", "a"), ("r2", "a")))
    other.commit("x", "x", 1001)
    for documents in (
        other.documents(),  # another key's, and newer
        {"r1": real["r2"]},
        {"r1": b""},
        {"../r1": real["r1"]},
    ):
        text = {name: base64.b64encode(each).decode() for name, each in documents.items()}

        def lie(method: str, path: str, body: bytes | None, text: dict[str, str] = text) -> tuple[int, bytes]:
            return (200, json.dumps({"documents": text}).encode()) if path.endswith("documents") else (404, b"")

        client = PolicyClient(lie, setup.places, "example", setup.store.public_key)
        with contextlib.suppress(PolicyServerError):
            assert {each.kind for each in client.round()} == {"error"}
        assert {name: (setup.places.documents / name).read_bytes() for name in setup.names()} == before
    for nonsense in (b"", b"[]", b"{", b'{"documents": 3}', b'{"documents": {"r1": 3}}', b"[" * 100_000):
        client = PolicyClient(lambda *_, n=nonsense: (200, n), setup.places, "example", setup.store.public_key)
        with pytest.raises(PolicyServerError):
            client.round()


def test_an_older_document_does_not_replace_a_newer_one(setup: Setup) -> None:
    setup.store.edit(edit.deny(setup.store.draft(), ("r1", "a"), ("r2", "a")))
    setup.store.commit("admin", "two", 1001)
    setup.client.round()
    old = {name: base64.b64encode(each).decode() for name, each in setup.store.documents(1).items()}
    replay = json.dumps({"documents": old}).encode()
    client = PolicyClient(
        lambda _m, path, _b: (200, replay) if path.endswith("documents") else (404, b""),
        setup.places, "example", setup.store.public_key,
    )  # fmt: skip
    assert client.round() == []
    assert (setup.places.documents / "r1.cose").read_bytes() == setup.store.documents()["r1"]


def test_a_document_of_a_revoked_administrator_is_replaced_by_one_of_a_lower_number(setup: Setup) -> None:
    setup.client.round()
    rogue, root = Ed25519PrivateKey.generate(), read_private_key(setup.store.folder / "key.pem")
    name, signed = next(iter(setup.store.documents().items()))
    document = verify_document(signed, setup.store.public_key, domain="example")
    word = Delegation(domain="example", name="rogue", key=spki(rogue), issued_at=0, expires_at=1 << 30)
    last = document.model_copy(update={"version": (1 << 63) - 1})
    path = setup.places.documents / f"{name}.cose"
    path.write_bytes(join(sign_delegation(word, root), sign_document(last, rogue)))
    assert setup.client.round() == []
    revoked = Revoked(name="rogue", key=key_hash(spki(rogue)))
    (setup.places.documents / REVOCATION).write_bytes(sign_list(make_list("example", 9, 0, (), [revoked]), root))
    setup.client.round()
    assert path.read_bytes() == signed


def test_a_server_that_fails_is_asked_later_and_later_and_at_once_when_it_is_back(setup: Setup) -> None:
    setup.fail_with = 503
    with pytest.raises(PolicyServerError, match="503"):
        setup.client.round()
    waits = [setup.client.wait_s(False) for _ in range(12)]
    assert waits[0] >= PERIOD_S
    assert LONGEST_S * 0.75 <= waits[-1] <= LONGEST_S * 1.25
    assert setup.client.wait_s(True) <= PERIOD_S * 1.25


# -- on the wire ------------------------------------------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    seen: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers["Authorization"]))
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "/stolen")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"here")

    def log_message(self, *_arguments: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    seen: list[tuple[str, str | None]] = []
    handler = type("Handler", (_Handler,), {"seen": seen})
    listening = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.server_port}", seen
    listening.shutdown()
    listening.server_close()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("rkp_secret\n")
    path.chmod(0o600)
    return path


def test_the_token_goes_along_and_a_redirection_is_not_followed(
    server: tuple[str, list[tuple[str, str | None]]], token: Path
) -> None:
    url, seen = server
    ask = PolicyHttp(url, token)
    assert ask("GET", "/v1/documents") == (200, b"here")
    assert ask("GET", "/elsewhere")[0] == 302
    assert seen == [("/v1/documents", "Bearer rkp_secret"), ("/elsewhere", "Bearer rkp_secret")]


def test_nobody_there_is_an_error_without_the_token(token: Path) -> None:
    with pytest.raises(PolicyServerError) as error:
        PolicyHttp("http://127.0.0.1:1", token)("GET", "/v1/documents")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("url", [
    "http://policy.example", "http://192.0.2.1:8484", "ftp://127.0.0.1", "https://", "https://a:b@c", "https://c/path",
    "https://c?x", "https://c:99999", "",
])  # fmt: skip
def test_an_address_that_would_show_the_token_is_refused(url: str, token: Path) -> None:
    with pytest.raises(PolicyServerError):
        PolicyHttp(url, token)


def test_a_token_that_others_can_read_is_refused(token: Path, tmp_path: Path) -> None:
    token.chmod(0o644)
    with pytest.raises(PolicyServerError, match="0600"):
        PolicyHttp("https://policy.example", token)
    with pytest.raises(PolicyServerError):
        PolicyHttp("https://policy.example", tmp_path / "none")


def test_address_and_token_are_configured_together(tmp_path: Path) -> None:
    path = tmp_path / "dks.toml"
    base = 'domain = "example"\nidentity = "i"\npolicy_server_key = "k"\ndocuments = "d"\nstate_dir = "s"\n'
    path.write_text(base + 'policy_url = "https://policy.example"\n')
    with pytest.raises(ConfigError, match="need each other"):
        read_config(path)
    path.write_text(base + 'policy_url = "https://policy.example"\npolicy_token = "t"\n')
    assert read_config(path).policy_token == tmp_path / "t"
