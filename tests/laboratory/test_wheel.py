"""The wheel, built and installed in clean environments of the lowest and of the newest versions that it allows.

The programs run outside of the checkout there. Where no package index answers there is nothing to install from.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from testbed.setup import installer

PROJECT = Path(__file__).parents[2]
EXTRAS = ("router", "policy", "server", "metrics")
UNREACHABLE = re.compile(r"error sending request|failed to (fetch|resolve|connect)|dns error|connection refused", re.I)
EVERY_MODULE = """
import importlib, pkgutil, agents
for each in pkgutil.walk_packages(agents.__path__, "agents."):
    if not each.name.endswith("__main__"):
        importlib.import_module(each.name)
"""
A_DOMAIN = """
set -eu
for name in dks r1 r2; do
  openssl genpkey -quiet -algorithm ED25519 -out $name.pem && openssl pkey -in $name.pem -pubout -out $name.pub
done
export POLICY_STORE=$PWD/store
policy init example --dks-key dks.pub --dks-address 192.0.2.1
for n in 1 2; do
  policy router add r$n --key r$n.pub && policy router approve r$n --key r$n.pub
  policy interface add r$n:e0 --address 10.0.0.$n/24 --link-local fe80::$n --mode required
done
policy adjacency allow r1:e0 r2:e0
policy commit -m first
policy check
mkdir documents && policy export documents
cat > dks.toml <<END
domain = "example"
identity = "dks.pem"
policy_server_key = "documents/policy-server.pem"
documents = "documents"
state_dir = "state"
port = 20848
END
dks check --config dks.toml
"""


def uv(*words: object, into: Path | None = None) -> str:
    """What uv prints. Skips where no package index answers."""
    settings = {**os.environ, **installer.uv_settings(), **({"VIRTUAL_ENV": str(into)} if into is not None else {})}
    done = subprocess.run(
        [str(installer.binary()), *map(str, words)],
        env=settings,
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
    )
    if done.returncode and UNREACHABLE.search(done.stderr):
        pytest.skip("no package index answers")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    installer.uv().make()
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # setuptools leaves its own folders where it builds
    source.mkdir()
    for name in ("agents", "packaging"):
        shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    uv("build", "--quiet", "--wheel", "--out-dir", folder, source)
    (made,) = folder.glob("*.whl")
    return made


def floors() -> list[str]:
    """Every direct requirement of a router and of a Policy Server at its lowest version."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(each for name in EXTRAS for each in project["optional-dependencies"][name])]
    pairs = [re.fullmatch(r"([a-z0-9-]+)>=([0-9.]+)", each) for each in wanted if "[" not in each]
    assert all(pairs), wanted
    return [f"{pair[1]}=={pair[2]}" for pair in pairs if pair is not None]


@pytest.mark.parametrize("versions", ["lowest", "newest"])
def test_the_programs_work_outside_the_checkout_with_what_the_wheel_allows(
    wheel: Path, tmp_path: Path, versions: str
) -> None:
    venv = tmp_path / "venv"
    uv("venv", "--quiet", "--python", sys.executable, venv)
    found = ("--index-strategy", "unsafe-best-match")  # as the locks are settled
    uv(
        "pip",
        "install",
        "--quiet",
        *found,
        f"{wheel}[router,policy]",
        *(floors() if versions == "lowest" else []),
        into=venv,
    )
    clean = {"PATH": f"{venv}/bin:/usr/bin:/bin", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}

    def run(*words: str) -> str:
        done = subprocess.run(words, env=clean, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    release = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    for program in ("lks", "dks", "policy"):
        assert run(program, "--version") == f"{program} {release}\n"
        assert "check" in run(program, "--help")
    run("python", "-c", EVERY_MODULE)
    assert "all is as it must be" in run("bash", "-c", A_DOMAIN)
    shared = venv / "share" / "router-keys"
    units = sorted(each.name for each in (PROJECT / "packaging" / "systemd").iterdir())
    assert sorted(each.name for each in (shared / "systemd").iterdir()) == units
    assert (shared / "monitoring" / "alerts.yml").is_file()
    assert not (venv / "bin" / "lab").exists(), "the laboratory is in the checkout alone"
