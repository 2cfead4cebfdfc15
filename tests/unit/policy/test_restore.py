"""The backup of docs/operations.md, made and put back by its own commands on another machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from agents.policy.api.tokens import Role, TokenStore
from agents.policy.document import verify_document
from agents.policy.keys import read_public_key
from agents.policy.store import PolicyStore
from tests.unit.runtime.commissioned import commissioned

PROJECT = Path(__file__).parents[3]
BLOCK = re.compile(r"<!-- (?P<name>backup|restore) -->\n```\n(?P<text>.*?)```", re.DOTALL)


def test_a_store_that_is_restored_signs_on_with_the_root_key_that_routers_pin(tmp_path: Path) -> None:
    commissioned(tmp_path)
    TokenStore(tmp_path / "store").add("dks", Role.CONFIRM, 0)
    stub = tmp_path / "bin" / "policy"
    stub.parent.mkdir()
    stub.write_text(f'#!/bin/sh\nexec {sys.executable} -m agents.policy "$@"\n')
    stub.chmod(0o755)
    blocks = {each["name"]: each["text"] for each in BLOCK.finditer((PROJECT / "docs" / "operations.md").read_text())}
    assert set(blocks) == {"backup", "restore"}
    told = {}
    for name, store in (("backup", "store"), ("restore", "new")):
        environment = {
            **os.environ, "PATH": f"{stub.parent}:{os.environ['PATH']}", "BACKUP": str(tmp_path / "backup"),
            "KEYBACKUP": str(tmp_path / "keys"),
            "POLICY_STORE": str(tmp_path / store), "PYTHONPATH": f"{PROJECT}:{os.environ.get('PYTHONPATH', '')}",
        }  # fmt: skip
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", blocks[name]],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        told[name] = done.stdout
        if name == "backup":
            assert (tmp_path / "keys" / "key.pem").exists() and not (tmp_path / "backup" / "key.pem").exists()
            # What happens to the old machine is nothing to the new one.
            (tmp_path / "store" / "policy.db").write_bytes(b"lost")
    assert (
        "all is as it must be" in told["restore"]
        and "as signed" in told["restore"]
        and "anna: first" in told["restore"]
    )
    store = PolicyStore(tmp_path / "new")
    renewed = store.renew("anna", store.history()[0].at + 80 * 86400)
    assert renewed.commit is not None and set(renewed.routers) == {"r1"}
    pinned = read_public_key(tmp_path / "lks" / "server.pem")
    signed = verify_document(store.documents()["r1"], pinned, domain="example")
    assert signed.version == renewed.commit.version == 2
    assert [each.name for each in TokenStore(tmp_path / "new").all()] == ["dks"]
    store.close()
