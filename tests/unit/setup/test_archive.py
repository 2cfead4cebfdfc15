"""Debian packages come in the versions that the lock names: from the mirror, else a snapshot, else as near as can be.

Two small archives are served here over HTTP; apt reads them as it reads Debian's.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from testbed.errors import EnvironmentFailure, InputError
from testbed.setup import archive, examine, kernel, mirrors, tree
from testbed.setup.archive import Package

TIME = "20300101T000000Z"


def deb(folder: Path, name: str, version: str, depends: str = "") -> Package:
    """Build a package of one file into `folder`."""
    work = folder / "work" / name
    (work / "DEBIAN").mkdir(parents=True, exist_ok=True)
    more = f"Depends: {depends}\n" if depends else ""
    (work / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: lab\nDescription: x\n{more}"
    )
    (work / "content").write_text(version)
    made = Package(name, version, "all", "")
    file = folder / made.file
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", work, file], check=True, capture_output=True)
    return Package(name, version, "all", hashlib.sha256(file.read_bytes()).hexdigest())


def serve_as(root: Path, *files: Path) -> None:
    """An archive of these packages below `root`, in the suite trixie; the other suites are empty."""
    stanzas = []
    for file in files:
        (root / file.name).write_bytes(file.read_bytes())
        control = subprocess.run(["dpkg-deb", "-f", file], check=True, capture_output=True, text=True).stdout
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        stanzas.append(f"{control}Filename: ./{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n")
    for suite in ("trixie", "trixie-updates", "trixie-backports", "trixie-security"):
        index = "\n".join(stanzas) if suite == "trixie" else ""
        place = root / "dists" / suite
        (place / "main" / "binary-amd64").mkdir(parents=True)
        (place / "main" / "binary-amd64" / "Packages").write_text(index)
        digest = hashlib.sha256(index.encode()).hexdigest()
        (place / "Release").write_text(
            f"Suite: {suite}\nCodename: {suite}\nArchitectures: amd64 all\nComponents: main\n"
            f"Valid-Until: Sat, 01 Jan 2000 00:00:00 UTC\n"
            f"SHA256:\n {digest} {len(index)} main/binary-amd64/Packages\n"
        )


class Quiet(SimpleHTTPRequestHandler):
    """Keeps what it was asked for to itself."""

    def log_message(self, *words: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def debs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def packages(debs: Path) -> dict[str, Package]:
    return {
        "daemon 1": deb(debs, "daemon", "1:1.0", "library (>= 1)"),
        "daemon 2": deb(debs, "daemon", "1:2.0", "library (>= 1)"),
        "library": deb(debs, "library", "1"),
        "source": deb(debs, "linux-source-6.12", "6.12.9-1"),
        "newer source": deb(debs, "linux-source-7.3", "7.3.1-1"),
    }


@pytest.fixture(scope="module")
def sites(packages: dict[str, Package], debs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A mirror that has moved on, and the snapshot of the day of the lock."""
    root = tmp_path_factory.mktemp("sites")
    old, new, security = root / "debian" / TIME, root / "mirror", root / "debian-security" / TIME
    for each in (old, new, security):
        each.mkdir(parents=True)
    serve_as(old, *(debs / packages[name].file for name in ("daemon 1", "library", "source")))
    serve_as(new, *(debs / packages[name].file for name in ("daemon 2", "library", "newer source")))
    serve_as(security)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sites: str) -> None:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(archive.SNAPSHOT, raising=False)
    monkeypatch.setattr(archive, "LOCK", tmp_path / "debian.txt")
    monkeypatch.setattr(mirrors, "TRUST", "[trusted=yes]")
    lines = [
        f"deb [trusted=yes] {sites}/mirror {suite} main"
        for suite in [each.format(archive.SUITE) for each in archive.SUITES]
    ]
    monkeypatch.setattr(mirrors, "source_lines", lambda *suites: lines)


def resolve(*wanted: Package) -> archive.Resolved:
    with archive.opened() as debian:
        found = debian.resolve("the guest", wanted, ("daemon",))
        files = debian.fetch(found.packages)
    assert [archive.sha256(file) for file in files] == [package.sha256 for package in found.packages]
    return found


def test_without_a_lock_the_newest_comes_with_all_that_it_needs(packages: dict[str, Package]) -> None:
    assert resolve() == archive.Resolved((packages["daemon 2"], packages["library"]))


def test_what_the_mirror_no_longer_has_comes_from_the_snapshot_of_the_locks_day(
    packages: dict[str, Package], sites: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    wanted = (packages["daemon 1"], packages["library"])
    archive.write({"guest": wanted}, TIME)
    monkeypatch.setenv(archive.SNAPSHOT, sites)
    assert resolve(*archive.locked("guest")) == archive.Resolved(wanted)
    assert f"the mirror no longer has daemon; asking {sites}" in capfd.readouterr().err


def test_without_a_snapshot_the_newest_is_taken_and_what_changed_is_said(
    packages: dict[str, Package], capfd: pytest.CaptureFixture[str]
) -> None:
    found = resolve(packages["daemon 1"], packages["library"])
    assert found.packages == (packages["daemon 2"], packages["library"])
    assert found.changed == ("daemon 1:1.0 → 1:2.0",)
    assert "the guest is not the locked one" in (told := capfd.readouterr().err)
    assert "daemon 1:1.0 → 1:2.0" in told and archive.SNAPSHOT in told


def test_what_was_fetched_before_serves_without_any_network(
    packages: dict[str, Package], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = (packages["daemon 2"], packages["library"])
    resolve(*wanted)
    monkeypatch.setattr(mirrors, "source_lines", lambda *suites: pytest.fail("the mirror is asked"))
    assert resolve(*wanted) == archive.Resolved(wanted)


def test_a_file_of_the_same_version_with_other_content_is_another_package(packages: dict[str, Package]) -> None:
    other = Package("daemon", "1:2.0", "all", "0" * 64)
    found = resolve(other, packages["library"])
    assert found.changed == ("daemon 1:2.0: another file of the same version",)


def test_what_nobody_has_is_said_plainly() -> None:
    with archive.opened() as debian, pytest.raises(EnvironmentFailure, match="no-such-package"):
        debian.resolve("the guest", (), ("no-such-package",))


def test_the_kernel_source_of_the_lock_is_taken_else_the_newest_and_that_is_said(
    packages: dict[str, Package], sites: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    archive.write({"kernel": [packages["source"]]}, TIME)
    assert kernel.fetched()[0] == packages["newer source"]
    assert "the kernel is not of the locked source" in capfd.readouterr().err
    monkeypatch.setenv(archive.SNAPSHOT, sites)
    assert kernel.fetched()[0] == packages["source"]


def test_the_files_make_a_repository_that_apt_takes_whole(packages: dict[str, Package], tmp_path: Path) -> None:
    with archive.opened() as debian:
        files = debian.fetch((packages["daemon 2"], packages["library"]))
    line = archive.repository(files, tmp_path / "repository", "trixie")
    assert line == f"deb [trusted=yes] copy:{tmp_path}/repository ./"
    listed = (tmp_path / "repository" / "Packages").read_text()
    assert listed.count("Package: ") == 2 and packages["library"].sha256 in listed


def test_a_lock_is_read_as_it_was_written_and_a_wrong_line_is_named(packages: dict[str, Package]) -> None:
    archive.write({"guest": [packages["library"], packages["daemon 1"]], "kernel": [packages["source"]]}, TIME)
    assert archive.locked("guest") == (packages["daemon 1"], packages["library"])
    assert archive.locked("guest", "tests", "kernel")[-1] == packages["source"]
    archive.LOCK.write_text("[guest]\nlibrary 1 all\n")
    with pytest.raises(InputError) as raised:
        archive.read()
    assert raised.value.where == f"{archive.LOCK}:2" and raised.value.next_command == "./lab lock renew"


def test_the_identity_of_a_tree_is_what_is_in_it_and_its_key_what_the_lock_names(packages: dict[str, Package]) -> None:
    archive.write({"guest": [packages["daemon 1"]]}, TIME)
    assert tree.identity() == tree.tree().key
    tree.tree().path.mkdir(parents=True)
    for name in ("daemon 1", "daemon 2"):
        (tree.tree().path / tree.RESOLVED).write_text(f"{packages[name]}\n")
        assert (tree.identity() == tree.tree().key) is (name == "daemon 1")
    assert tree.tree(tests=True).key != tree.tree().key


def test_a_kernel_is_another_one_by_its_source_and_by_what_compiled_it() -> None:
    kernel.kernel().path.mkdir(parents=True)
    made = kernel.kernel().path / kernel.MADE_OF
    texts = [
        '{"linux-source-7.3": "7.3.1-1 all a", "gcc": "12 b"}',
        '{"linux-source-7.3": "7.3.1-1 all a", "gcc": "14 c"}',
    ]
    found = []
    for text in (*texts, '{"linux-source-7.3": "7.3.2-1 all d", "gcc": "12 b"}'):
        made.write_text(text)
        found.append(kernel.identity())
    assert len(set(found)) == 3
    assert kernel.source() == (Package("linux-source-7.3", "7.3.2-1", "all", "d"),)


def test_doctor_says_what_of_the_guest_is_not_the_locked(packages: dict[str, Package]) -> None:
    archive.write({"guest": [packages["daemon 1"]]}, TIME)
    tree.tree().path.mkdir(parents=True)
    (tree.tree().path / tree.RESOLVED).write_text(f"{packages['daemon 2']}\n")
    (told,) = [each for each in examine.against_the_lock() if "guest-tree" in each.what]
    assert told.detail == "daemon 1:1.0 → 1:2.0" and "./lab lock renew" in told.remedy
