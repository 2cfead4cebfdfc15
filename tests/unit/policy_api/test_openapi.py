"""What /v1/openapi.json says: who may ask, and every error that an address answers with. And what Prometheus reads."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from agents.policy import edit
from agents.policy.api.app import create_app
from agents.policy.api.bodies import Problem
from agents.policy.api.metrics import PolicyCounts, families
from agents.policy.api.tokens import Role, TokenStore
from agents.policy.confirmation import Confirmation
from agents.policy.delegation import Delegation, sign_delegation
from agents.policy.deploy import Deployer
from agents.policy.domain import AdministratorEntry, Domain
from agents.policy.errors import PolicyError
from agents.policy.keys import read_private_key, spki
from agents.policy.store import PolicyStore, Signer
from agents.runtime.metrics import page
from tests.unit.runtime.commissioned import commissioned


@pytest.fixture
def store(tmp_path: Path) -> Path:
    commissioned(tmp_path)
    return tmp_path / "store"


@pytest.fixture
def api(store: Path) -> TestClient:
    return TestClient(create_app(store, ["testserver"], max_body=10_000))


def described(api: TestClient) -> dict[str, Any]:
    return dict(api.get("/v1/openapi.json").json())


def test_every_address_declares_the_bearer_token_and_the_errors_of_what_stands_before_it(api: TestClient) -> None:
    whole = described(api)
    assert whole["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    operations = [(path, verb, each) for path, verbs in whole["paths"].items() for verb, each in verbs.items()]
    assert len(operations) > 15
    for path, verb, operation in operations:
        assert operation["security"] == [{"HTTPBearer": []}], path
        for status in ("400", "401", "403", "413", "414", "421", "422", "503"):
            schema = operation["responses"][status]["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/Problem"}, (path, verb, status)


def test_what_an_address_answers_is_declared_and_is_as_declared(api: TestClient, store: Path) -> None:
    registry, paths = TokenStore(store), described(api)["paths"]
    tokens = {role: {"Authorization": f"Bearer {registry.add(role.value, role, 0)}"} for role in Role}
    write = tokens[Role.WRITE]
    commit = {"why": "x", "expected": 7}
    asked: list[tuple[int, str, str, dict[str, Any]]] = [
        (401, "get", "/v1/domain", {}),
        (403, "post", "/v1/commits", {"headers": tokens[Role.READ], "json": commit}),
        (404, "get", "/v1/documents/{name}", {"headers": write}),
        (404, "get", "/v1/revocation", {"headers": write}),
        (409, "post", "/v1/commits", {"headers": write, "json": commit}),
        (413, "post", "/v1/commits", {"headers": write, "content": b"x" * 20_000}),
        (421, "get", "/v1/domain", {"headers": {**write, "Host": "evil"}}),
        (422, "post", "/v1/commits", {"headers": write, "json": {"nonsense": 1}}),
        (422, "post", "/v1/commits", {"headers": write, "json": {"why": "x", "expected": 1}}),
        (422, "get", "/v1/domain", {"headers": write, "params": {"version": 99}}),
        (414, "get", "/v1/domain", {"headers": write, "params": {"version": "9" * 4000}}),
    ]
    for status, verb, path, more in asked:
        answer = api.request(verb, path.replace("{name}", "nobody"), **more)
        assert answer.status_code == status, (path, answer.text)
        assert str(status) in paths[path][verb]["responses"], (path, status)
        Problem.model_validate_json(json.dumps(answer.json()), strict=False)


def test_the_root_key_can_be_elsewhere_while_the_api_signs_with_a_delegated_key(store: Path) -> None:
    root = read_private_key(store / "key.pem")
    with_root = PolicyStore(store)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    anna = Ed25519PrivateKey.generate()
    entry = AdministratorEntry(name="anna", key=spki(anna))
    with_root.edit(with_root.draft().model_copy(update={"administrators": (entry,)}))
    done, _fresh = with_root.commit("root", "anna may sign", with_root.history()[0].at)
    delegation = sign_delegation(
        Delegation(domain="example", name="anna", key=spki(anna), issued_at=0, expires_at=1 << 40), root
    )
    with_root.close()
    (store / "key.pem").unlink()
    api = TestClient(create_app(store, ["testserver"], signer=Signer(anna, delegation)))
    headers = {"Authorization": f"Bearer {TokenStore(store).add('w', Role.WRITE, 0)}"}
    step = {"op": "interface.mode", "at": {"router": "r1", "interface": "e0"}, "mode": "permissive"}
    assert api.post("/v1/draft/edits", json={"steps": [step]}, headers=headers).status_code == 200
    answer = api.post("/v1/commits", json={"why": "softer", "expected": done.version}, headers=headers)
    assert answer.status_code == 200 and answer.json()["documents"] == ["r1"]
    removed = [{"op": "router.remove", "name": "r1"}]
    assert api.post("/v1/draft/edits", json={"steps": removed}, headers=headers).status_code == 200
    answer = api.post("/v1/commits", json={"why": "gone", "expected": done.version + 1}, headers=headers)
    assert answer.status_code == 422 and "only the root key revokes keys" in answer.json()["error"]


def test_prometheus_reads_requests_and_what_ends_and_is_missing(api: TestClient, store: Path) -> None:
    pytest.importorskip("prometheus_client", reason="the layer `metrics` is not there; lab test makes it")
    api.get("/v1/domain")
    counts = api.app.state.counts  # type: ignore[attr-defined]
    assert isinstance(counts, PolicyCounts)
    lines = page(families(store, counts)).splitlines()
    assert 'policy_requests_total{method="GET",status="401"} 1.0' in lines
    for line in (
        "policy_version 1.0",
        "policy_documents 1.0",
        "policy_confirmations_missing 1.0",
        "policy_revocation_version 0.0",
    ):
        assert line in lines
    assert any(line.startswith("policy_document_expires_timestamp_seconds 1.") for line in lines)


def test_documents_are_verified_once_for_a_version_however_often_prometheus_asks(store: Path) -> None:
    counts = PolicyCounts()
    with closing(PolicyStore(store)) as opened:
        documents, _ends = counts.verified(opened)
        assert [each.router for each in documents] == ["r1"] and counts.verified(opened)[0] is documents
        opened.edit(edit.remove_router(opened.draft(), "r1"))
        opened.commit("anna", "gone", int(time.time()))
        assert counts.verified(opened)[0] == []


def test_tokens_of_the_first_format_count_and_later_files_are_told_from_damaged_ones(store: Path) -> None:
    registry = TokenStore(store)
    given = registry.add("dks", Role.CONFIRM, 5)
    (whole,) = json.loads((store / "tokens.json").read_text())["tokens"]
    (store / "tokens.json").write_text(json.dumps([whole]))
    assert registry.find(given) == registry.all()[0] and registry.all()[0].name == "dks"
    registry.add("other", Role.READ, 6)
    assert json.loads((store / "tokens.json").read_text())["format"] == 2 and len(registry.all()) == 2
    for name, read in (
        ("tokens.json", registry.all),
        ("deployment.json", lambda: Deployer(PolicyStore(store), _nobody).current()),
    ):
        (store / name).write_text('{"format": 9, "what": "nobody knows"}')
        (store / name).chmod(0o600)
        with pytest.raises(PolicyError, match=rf"{name}: a file of format 9, and this release reads up to format \d\n"):
            read()
        (store / name).write_text("[" * 5000)
        with pytest.raises(PolicyError, match="holds no"):
            read()


def _nobody(_domain: Domain) -> tuple[dict[str, Confirmation], list[str]]:
    return {}, []
