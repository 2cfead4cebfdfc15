"""What a daemon loads at its start: no web interface, no command-line framework, nothing of the laboratory."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("fastapi", "starlette", "uvicorn", "typer", "rich", "click", "numpy", "scapy", "testbed", "experiments")
LOADED = "import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"


def loaded_by(module: str) -> set[str]:
    """The top-level packages that a new interpreter has loaded after importing `module`."""
    return set(
        subprocess.run(
            [sys.executable, "-c", LOADED.format(module=module)], capture_output=True, text=True, check=True
        ).stdout.split()
    )


@pytest.mark.parametrize("module", ["agents.lks.daemon", "agents.dks.daemon", "agents.dks.worker"])
def test_a_daemon_starts_without_what_only_the_policy_server_or_the_laboratory_needs(module: str) -> None:
    loaded = loaded_by(module)
    assert "agents" in loaded
    assert not loaded.intersection(HEAVY)


def test_a_router_opens_no_database() -> None:
    assert "sqlite3" not in loaded_by("agents.lks.daemon")
    assert "sqlite3" in loaded_by("agents.dks.daemon")
