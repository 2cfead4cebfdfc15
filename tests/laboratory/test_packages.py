"""The Debian packages, built and installed in clean trees of the releases that they are for, without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed.errors import EnvironmentFailure
from testbed.packages.build import build
from testbed.packages.releases import RELEASES, Release
from testbed.setup import clean
from testbed.setup.artefact import remove
from testbed.setup.history import full
from testbed.setup.paths import PROJECT
from tests.laboratory.small_domain import A_DOMAIN

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="packages are installed by root")

BEFORE = "dc64f5826d908826a670afef263ee263f3ad168d"
"""A commit of 0.1.0: programs, units and state are of another form than now."""
ALONE = ("unshare", "--mount", "--pid", "--net", "--fork", "--kill-child")
COMMISSIONED = """
set -eu
cd /root
cp r1.pem /etc/router-keys/identity.pem
cp documents/policy-server.pem /etc/router-keys/
cp documents/r1.cose /var/lib/router-keys/policy.cose
echo left > /var/lib/router-keys/counters
sed -i 's/^#name = .*/name = "r1"/; s/^#domain = .*/domain = "example"/' /etc/router-keys/lks.toml
"""


@dataclass(frozen=True)
class Machine:
    """A copy of a clean tree, without a network, in which root types commands."""

    root: Path

    @property
    def mounts(self) -> str:
        return f'mount -t proc proc "{self.root}/proc"; mount --bind /dev "{self.root}/dev"'

    def types(self, command: str) -> subprocess.CompletedProcess[str]:
        """What comes of a command; both streams are one."""
        return self.runs(f'{self.mounts}; exec chroot "{self.root}" sh', command)

    def runs(self, script: str, typed: str) -> subprocess.CompletedProcess[str]:
        """A script outside of the tree, in namespaces that end with it; `typed` is its input."""
        words = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
        return subprocess.run(
            [*ALONE, "sh", "-euc", script], input=typed, env=words | {"DEBIAN_FRONTEND": "noninteractive"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip

    def does(self, command: str) -> str:
        """The same of a command that must not fail."""
        done = self.types(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def brings(self, files: list[Path]) -> None:
        """Lay files into /root/packages, in the place of those before."""
        folder = self.root / "root" / "packages"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for file in files:
            shutil.copy(file, folder)

    def has(self, path: str) -> bool:
        return os.path.lexists(self.root / path.lstrip("/"))


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return build(tmp_path_factory.mktemp("packages"))


def of(files: list[Path], release: Release) -> list[Path]:
    return [file for file in files if file.parent.name == release.folder]


@pytest.fixture(params=RELEASES, ids=lambda release: release.name)
def release(request: pytest.FixtureRequest) -> Release:
    found: Release = request.param
    return found


@pytest.fixture
def machine(release: Release, tmp_path: Path) -> Iterator[Machine]:
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", clean.clean(release.folder).make() / "root", root], check=True)
    yield Machine(root)
    remove(tmp_path / "root")


def test_packages_are_installed_upgraded_removed_and_purged(
    machine: Machine, release: Release, packages: list[Path], tmp_path: Path
) -> None:
    if not full(BEFORE):
        pytest.skip(f"commit {BEFORE[:12]} is not in this checkout")
    try:
        before = build(tmp_path / "before", (release.number,), BEFORE)
    except EnvironmentFailure as error:
        pytest.skip(f"no package of a commit before can be built: {error.problem}")
    machine.brings(before)
    machine.does("apt-get install -y /root/packages/router-keys-*.deb")
    machine.does("lks --help && dks --help && policy --help")
    machine.does("echo '# ours' >> /etc/router-keys/dks.toml")

    machine.brings(of(packages, release))
    told = machine.does("apt-get install -y /root/packages/router-keys-*.deb")
    assert "4 upgraded" in told
    for program in ("lks", "dks", "policy"):
        assert machine.does(f"{program} --version").startswith(f"{program} 0.")
        assert machine.has(f"/usr/share/man/man8/{program}.8.gz")
    assert machine.does("tail -n 1 /etc/router-keys/dks.toml") == "# ours\n"
    owners = "stat -c '%U:%G %a' /etc/router-keys /etc/router-keys/lks.toml /var/lib/router-keys/dks"
    assert machine.does(owners).split("\n")[:3] == [
        "root:root 755",
        "root:root 644",
        "router-keys-dks:router-keys-dks 700",
    ]
    assert (
        machine.does("getent passwd router-keys-policy | cut -d: -f6,7")
        == "/var/lib/router-keys/policy:/usr/sbin/nologin\n"
    )
    assert machine.does("find /etc/systemd -name 'lks*' -o -name 'dks*' -o -name 'policy.service'") == ""
    unconfigured = machine.types("lks check")
    assert unconfigured.returncode == 2 and "'name' is missing" in unconfigured.stdout

    machine.does(f"cd /root\n{A_DOMAIN}")
    machine.does("policy check")
    machine.does(COMMISSIONED)
    checked = machine.types("lks check").stdout
    assert "configuration: /etc/router-keys/lks.toml" in checked and "Traceback" not in checked
    machine.does(
        "cp /root/documents/* /var/lib/router-keys/dks/documents/ && rm -f /var/lib/router-keys/dks/documents/*.pem"
    )
    # The whole of what `policy serve` needs is there.
    machine.does("/usr/lib/router-keys/bin/python3 -I -c 'import agents.policy.api.server, agents.dks.worker'")

    machine.does("apt-get remove -y 'router-keys-*'")
    assert not machine.has("/usr/bin/lks") and not machine.has("/usr/lib/router-keys")
    assert machine.has("/etc/router-keys/lks.toml") and machine.has("/var/lib/router-keys/policy/policy.db")

    told = machine.does("apt-get purge -y 'router-keys-*'")
    for kept in ("/etc/router-keys/identity.pem", "/var/lib/router-keys/counters", "/var/lib/router-keys/policy"):
        assert machine.has(kept) and kept in told
    for gone in ("/etc/router-keys/lks.toml", "/var/lib/router-keys/policy.cose", "/var/lib/router-keys/dks"):
        assert not machine.has(gone), gone
    machine.does("test -e /var/lib/router-keys/policy/key.pem")


def test_the_same_commit_gives_the_same_bytes(packages: list[Path], tmp_path: Path) -> None:
    command = [PROJECT / "lab", "package", "--release", "13", "--out", "here"]
    done = subprocess.run(command, cwd=tmp_path, umask=0o077, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    again = [tmp_path / line for line in done.stdout.splitlines()]
    first = {file.name: file.read_bytes() for file in of(packages, RELEASES[1])}
    assert {file.name: file.read_bytes() for file in again} == first


def test_lintian_finds_no_error_and_man_and_shells_read_what_is_for_them(packages: list[Path], tmp_path: Path) -> None:
    machine = Machine(clean.tools().make() / "root")
    looked = tmp_path / "looked"
    for release in RELEASES:
        for file in of(packages, release):
            subprocess.run(["dpkg-deb", "-x", file, looked], check=True)
    copies = "; ".join(f'cp -r "{each}" "{machine.root}/mnt/"' for each in (looked, *packages))
    prepared = f'mount -t tmpfs none "{machine.root}/mnt"; {copies}; {machine.mounts}'
    lintian = "cd /mnt; TMPDIR=/mnt lintian --allow-root --fail-on error *.deb"
    man = 'for page in looked/usr/share/man/man8/*; do man --warnings -E UTF-8 -l "$page" 2>&1 >/dev/null; done'
    done = machine.runs(f'{prepared}; exec chroot "{machine.root}" sh -eu', f"{lintian}; {man}")
    assert done.returncode == 0, done.stdout
    assert "E:" not in done.stdout and ".8.gz:" not in done.stdout, done.stdout
    for program in ("lks", "dks", "policy"):
        subprocess.run(["bash", "-n", looked / "usr/share/bash-completion/completions" / program], check=True)
