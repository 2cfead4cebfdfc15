"""What an operator gets wrong, each on purpose: `check` and `run` name it, say what to do, and end with 2 or 3."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.dks import daemon as dks
from agents.dks import serve as dks_serve
from agents.lks import check as lks_check
from agents.lks import daemon as lks
from agents.policy import cli
from agents.policy.cose import sign
from agents.policy.keys import public_pem, write_private_key
from agents.policy.store import SCHEMA_VERSION
from agents.runtime import checks as common
from agents.runtime import harden
from agents.runtime.effects import Event
from agents.runtime.events import EventLog
from agents.runtime.journal import Journal, Level
from agents.runtime.storage import seal
from tests.unit.runtime.commissioned import Domain1, commissioned

PROGRAMS = {"lks": lks.main, "dks": dks.main}


class KernelOfTests:
    """In the place of XFRM and what reconciles it."""

    port = 0

    def apply(self, _wanted: object) -> list[Any]:
        return []

    def sequence(self, *_: object) -> int:
        return 0


@pytest.fixture
def domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Domain1:
    for name in ("Xfrm", "Reconciler"):
        monkeypatch.setattr(lks, name, lambda *_: KernelOfTests())
    monkeypatch.setattr(lks, "_Watch", lambda *_: None)
    monkeypatch.setattr(lks, "snapshot", dict)
    monkeypatch.setattr(lks_check, "_kernel", lambda *_: None)
    monkeypatch.setattr(harden, "process", lambda: None)
    return commissioned(tmp_path)


def write(path: Path, text: str) -> None:
    path.write_text(text)


def other_key(path: Path) -> None:
    path.unlink()
    write_private_key(path, Ed25519PrivateKey.generate())


def renamed(folder: Path, old: str, new: str) -> None:
    for path in folder.glob("*.toml"):
        path.write_text(path.read_text().replace(old, new))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def with_policy_server(folder: Path, more: str = "") -> None:
    write(folder / "token", "x")
    (folder / "token").chmod(0o600)
    renamed(folder, "port =", f'policy_url = "https://127.0.0.1:1"\npolicy_token = "token"\n{more}port =')


def later_ledger(state: Path) -> None:
    import sqlite3

    with contextlib.closing(sqlite3.connect(state / "generations.sqlite")) as ledger:
        ledger.execute("PRAGMA user_version = 99")


def token_for_all(folder: Path) -> None:
    write(folder / "token", "x")
    (folder / "token").chmod(0o644)
    renamed(folder, "port =", 'policy_url = "https://a"\npolicy_token = "token"\nport =')


Break = Callable[[Path], object]
BOTH: list[tuple[str, Break, int, str, str]] = [
    (
        "a misspelt setting",
        lambda p: renamed(p, "identity =", "identiy ="),
        2,
        ":3: unknown setting 'identiy'; did",
        "allowed: ",
    ),
    ("no configuration", lambda p: [each.unlink() for each in p.glob("*.toml")], 2, "No such file", "--config FILE"),
    (
        "an identity that others read",
        lambda p: (p / "identity.pem").chmod(0o644),
        3,
        "mode 0600, not 0644",
        "chmod 600",
    ),
    ("somebody else's identity", lambda p: os.chown(p / "identity.pem", 12345, 0), 3, "belongs to user 12345", "chown"),
    ("no identity", lambda p: (p / "identity.pem").unlink(), 3, "identity.pem: No such file", "openssl genpkey"),
    ("an identity that is none", lambda p: write(p / "identity.pem", "x"), 3, "not a private key", "allowed: "),
    (
        "an identity that is a folder",
        lambda p: ((p / "identity.pem").unlink(), (p / "identity.pem").mkdir()),
        3,
        "not a regular file",
        "ls -l",
    ),
    ("no key of the Policy Server", lambda p: (p / "server.pem").unlink(), 3, "server.pem: No such file", "ls -l"),
    ("a Policy Server's key that is none", lambda p: write(p / "server.pem", "x"), 3, "not a public key", "allowed: "),
    ("state that others may write", lambda p: (p / "state").chmod(0o777), 3, "no other user may write", "chmod 0700"),
    ("state of another user", lambda p: os.chown(p / "state", 12345, 0), 3, "user 12345's", "chown"),
    ("state that is no folder", lambda p: renamed(p, '"state"', '"server.pem"'), 3, "Not a directory", "namei -l"),
]
LKS: list[tuple[str, Break, int, str, str]] = [
    ("no document", lambda p: (p / "state/policy.cose").unlink(), 3, "not been commissioned", "policy export"),
    ("a document of another router", lambda p: renamed(p, '"r1"', '"r2"'), 3, "is for example/r1", ""),
    (
        "another Policy Server",
        lambda p: write(p / "server.pem", public_pem(Ed25519PrivateKey.generate()).decode()),
        3,
        "signature",
        "",
    ),
    (
        "counters of a later release",
        lambda p: (p / "state/counters").write_bytes(seal("router-keys/lks-counters/4", b"x")),
        3,
        "counters record of format 4, and this",
        "install the release",
    ),
    (
        "a lease of a later release",
        lambda p: (p / "state/lease").write_bytes(seal("router-keys/lks-lease/2", b"x")),
        3,
        "lease record of format 2",
        "install the release",
    ),
    ("damaged counters", lambda p: (p / "state/counters").write_bytes(b"x"), 3, "counters record is damaged", "backup"),
]
LKS += [
    (
        "a document of another router",
        lambda p: renamed(p, 'name = "r1"', 'name = "r9"'),
        3,
        "state/policy.cose: the document is for ",
        "copy its r9.cose to ",
    ),
    ("a revocation list that is none", lambda p: write(p / "state/revocation.cose", "x"), 3, "revocation.cose: ", ""),
    (
        "a document of a later release",
        lambda p: (p / "state/policy.cose").write_bytes(sign("router-keys/policy-document/2", b"x", ANYBODY)),
        3,
        "policy-document of format 2, and this release reads up to format 1",
        "install the release",
    ),
    ("a pipe for a document", lambda p: pipe(p / "state/policy.cose"), 3, "policy.cose: not a regular file", "ls -l"),
]
ANYBODY = Ed25519PrivateKey.generate()
DKS: list[tuple[str, Break, int, str, str]] = [
    ("no documents", lambda p: shutil.rmtree(p / "documents"), 3, "documents: No such file", "ls -l"),
    (
        "documents that are no folder",
        lambda p: renamed(p, '"documents"', '"server.pem"'),
        3,
        "Not a directory",
        "namei -l",
    ),
    ("a ledger of a later release", lambda p: later_ledger(p / "state"), 3, "format 99", "install the release"),
    ("a ledger that is none", lambda p: write(p / "state/generations.sqlite", "x" * 4096), 3, "not a database", ""),
    ("a token that others read", token_for_all, 3, "token's file must have mode 0600", "chmod 600"),
]
DKS += [
    (
        "no certificates",
        lambda p: with_policy_server(p, 'policy_ca = "none.pem"\n'),
        3,
        "none.pem: no certificates",
        "",
    ),
    (
        "an empty token",
        lambda p: (with_policy_server(p), write(p / "token", "")),
        3,
        "holds no token",
        "policy token add",
    ),
    ("no token", lambda p: (with_policy_server(p), (p / "token").unlink()), 3, "token: No such file", "ls -l"),
]
CASES = [(program, *case) for program in PROGRAMS for case in BOTH]
CASES += [("lks", *case) for case in LKS] + [("dks", *case) for case in DKS]


@pytest.mark.parametrize(
    ("program", "what", "broken", "code", "said", "do"), CASES, ids=[f"{c[0]}: {c[1]}" for c in CASES]
)
def test_check_and_run_name_it_and_say_what_to_do(
    domain: Domain1,
    capfd: pytest.CaptureFixture[str],
    program: str,
    what: str,
    broken: Break,
    code: int,
    said: str,
    do: str,
) -> None:
    if what.startswith(("somebody", "state of")) and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    broken(domain.path(program))
    for verb in ("check", "run"):
        assert PROGRAMS[program]([verb, "--config", str(domain.config(program))]) == code
        output = "".join(capfd.readouterr())
        assert said in output and do in output, output


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_port_that_is_taken_is_named_with_the_command_that_shows_by_whom(
    domain: Domain1, capfd: pytest.CaptureFixture[str], program: str
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", domain.port))
        for verb in ("check", "run"):
            assert PROGRAMS[program]([verb, "--config", str(domain.config(program))]) == 3
            output = "".join(capfd.readouterr())
            assert f"port {domain.port}: Address already in use" in output
            assert f"ss -ulpn 'sport = :{domain.port}'" in output


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_socket_of_too_long_a_name_and_a_port_for_metrics_that_is_taken_are_named(
    domain: Domain1, capfd: pytest.CaptureFixture[str], program: str
) -> None:
    config = domain.config(program)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        lines = [line for line in config.read_text().splitlines() if not line.startswith("socket")]
        write(config, "\n".join([f'socket = "{config.parent / ("x" * 120)}"', f"metrics_port = {port}", *lines, ""]))
        assert PROGRAMS[program](["check", "--config", str(config)]) == 3
    output = "".join(capfd.readouterr())
    assert "more than the 107 of a socket's path" in output
    assert f"TCP 127.0.0.1, port {port}: Address already in use" in output and f"ss -tlpn sport = :{port}" in output


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("error", ["full", "inodes", "read-only"])
def test_a_disk_that_takes_nothing_is_named(
    domain: Domain1, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, program: str, error: str
) -> None:
    before = os.statvfs

    def full(path: object) -> os.statvfs_result:
        names = {"full": {4: 0, 3: 0}, "inodes": {6: 0, 5: 1000}, "read-only": {8: os.ST_RDONLY}}[error]
        return os.statvfs_result(names.get(at, value) for at, value in enumerate(before(path)))  # type: ignore[arg-type]

    monkeypatch.setattr(os, "statvfs", full)
    for verb in ("check", "run"):
        assert PROGRAMS[program]([verb, "--config", str(domain.config(program))]) == 3
        output = "".join(capfd.readouterr())
        assert ("findmnt -T " if error == "read-only" else "df -h ") + str(domain.path(f"{program}/state")) in output


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
def test_a_full_disk_is_named_where_it_is_really_full(domain: Domain1, capfd: pytest.CaptureFixture[str]) -> None:
    state = domain.path("lks/state")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "state", state], check=False).returncode:
        pytest.skip("no mounting here")
    try:
        with contextlib.suppress(OSError), (state / "fill").open("wb") as file:
            file.write(bytes(1 << 20))
        for verb in ("check", "run"):
            assert lks.main([verb, "--config", str(domain.config("lks"))]) == 3
            assert f"{state}: No space left on device" in "".join(capfd.readouterr())
    finally:
        subprocess.run(["umount", state], check=True)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("what", ["key of another party", "clock in 1970", "expired document"])
def test_what_a_daemon_bears_is_wrong_in_check_and_an_error_in_the_journal(
    domain: Domain1, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, program: str, what: str
) -> None:
    class Idle:
        def __init__(self, *_: object, **__: object) -> None: ...

        async def run(self) -> None: ...

    monkeypatch.setattr(lks, "Driver", Idle)
    monkeypatch.setattr(dks_serve, "Driver", Idle)
    if what == "key of another party":
        other_key(domain.path(f"{program}/identity.pem"))
        said = "not the key " if program == "lks" else "not th"
    else:
        ahead = -time.time() + 1000 if what == "clock in 1970" else 400 * 86400
        write(domain.path(f"{program}/offset"), str(ahead))
        renamed(domain.path(program), "state_dir", 'clock = "offset"\nstate_dir')
        said = "expired" if ahead > 0 else "issued"
    assert PROGRAMS[program](["check", "--config", str(domain.config(program))]) == 3
    output = "".join(capfd.readouterr())
    assert said in output and "next:" in output
    assert what != "clock in 1970" or "1970-01-01" in output
    assert PROGRAMS[program](["run", "--config", str(domain.config(program))]) == 0
    output = capfd.readouterr().err
    assert said in output and "next=" in output and " error " in output


@pytest.mark.parametrize("listen", ["127.0.0.1", "203.0.113.9"])
def test_a_port_or_address_that_the_policy_server_cannot_have_is_named(
    domain: Domain1, capfd: pytest.CaptureFixture[str], listen: str
) -> None:
    pytest.importorskip("uvicorn")
    key, certificate = domain.path("tls.key"), domain.path("tls.crt")
    subject = ["-subj", "/CN=x", "-keyout", key, "-out", certificate, "-newkey", "ed25519"]
    subprocess.run(["openssl", "req", "-x509", "-nodes", *subject], check=True, capture_output=True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = [
            "serve",
            "--listen",
            listen,
            "--port",
            str(port),
            "--tls-cert",
            str(certificate),
            "--tls-key",
            str(key),
        ]
        assert cli._main(["--store", str(domain.path("store")), *words]) == 3
    output = capfd.readouterr().err
    assert f"TCP {listen} port {port}: " in output and ("ss -tlpn" if listen == "127.0.0.1" else "ip address") in output


def unprivileged(*words: object) -> subprocess.CompletedProcess[str]:
    """A command line of a user whom modes bind, though it be root."""
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
    command = [*(drop if os.geteuid() == 0 else []), sys.executable, "-m", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})


@pytest.mark.parametrize("verb", ["check", "run"])
def test_documents_that_cannot_be_read_are_named(domain: Domain1, verb: str) -> None:
    folder = domain.path("dks/documents")
    folder.chmod(0)
    try:
        done = unprivileged("agents.dks", verb, "--config", domain.config("dks"))
    finally:
        folder.chmod(0o700)
    assert done.returncode == 3, done
    assert (
        f"{folder}: Permission denied" in done.stdout + done.stderr
        and f"namei -l {folder}" in done.stdout + done.stderr
    )


@pytest.mark.parametrize("program", [*PROGRAMS, "policy"])
def test_all_is_well_where_nothing_is_wrong(domain: Domain1, capfd: pytest.CaptureFixture[str], program: str) -> None:
    if program == "policy":
        assert cli._main(["--store", str(domain.path("store")), "check", "--json"]) == 0
    else:
        assert PROGRAMS[program](["check", "--config", str(domain.config(program)), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert {each["state"] for each in found} <= {"ok", "warning"}
    before = sorted(path.name for path in domain.folder.rglob("*"))
    assert "counters" not in before and "generations.sqlite" not in before  # it changes nothing


def test_root_asks_whether_the_services_own_user_can_read_its_secrets(
    domain: Domain1, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The DKS's folders and secrets belong to the user of its unit, and root types `dks check`."""
    monkeypatch.setattr(common, "_service_of", lambda _: "router-keys-dks")
    service, identity = 12345, domain.path("dks/identity.pem")
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(domain.path("dks/state"), service, service)
    words = ["check", "--config", str(domain.config("dks"))]
    assert dks.main(words) == 3
    assert f"must belong to user {service}, under which the service runs" in capfd.readouterr().err
    os.chown(identity, service, service)
    assert dks.main(words) == 0
    assert f"{identity}: Ed25519, router-keys-dks" in capfd.readouterr().out


STORE: list[tuple[str, Break, str, str]] = [
    ("no store", lambda p: (p / "policy.db").unlink(), "holds no policy store", "init"),
    ("a root key that others read", lambda p: (p / "key.pem").chmod(0o640), "mode 0600, not 0640", "chmod 600"),
    ("another root key", lambda p: other_key(p / "key.pem"), "not the key of key.pub", "ls -l"),
    (
        "tokens that others read",
        lambda p: (write(p / "tokens.json", "[]"), (p / "tokens.json").chmod(0o644)),
        "tokens' file must have mode 0600",
        "chmod 600",
    ),
    ("a folder that others write to", lambda p: p.chmod(0o777), "no other user may write", "chmod 0700"),
    ("a damaged store", lambda p: write(p / "policy.db", "x" * 4096), "policy store is damaged", "restore the whole"),
    ("an empty store", lambda p: write(p / "policy.db", ""), "policy store is empty", "restore the whole"),
]


@pytest.mark.parametrize(("what", "broken", "said", "do"), STORE, ids=[each[0] for each in STORE])
def test_policy_check_names_what_is_wrong_with_a_store(
    domain: Domain1, capfd: pytest.CaptureFixture[str], what: str, broken: Break, said: str, do: str
) -> None:
    broken(domain.path("store"))
    assert cli._main(["--store", str(domain.path("store")), "check"]) == (2 if what == "no store" else 3)
    output = "".join(capfd.readouterr())
    assert said in output and do in output, output


@pytest.mark.parametrize(("what", "code"), [("no store", 2), ("a damaged store", 3), ("an empty store", 3)])
def test_one_problem_of_a_store_has_one_exit_code_for_every_verb(domain: Domain1, what: str, code: int) -> None:
    next(broken for name, broken, *_ in STORE if name == what)(domain.path("store"))
    for verb in ("check", "show", "history", "verify"):
        assert cli._main(["--store", str(domain.path("store")), verb]) == code, verb


def test_a_store_of_a_later_release_is_refused(domain: Domain1, capfd: pytest.CaptureFixture[str]) -> None:
    import sqlite3

    with contextlib.closing(sqlite3.connect(domain.path("store/policy.db"))) as store:
        store.execute("PRAGMA user_version = 9")
    assert cli._main(["--store", str(domain.path("store")), "check"]) == 3
    assert f"a store of format 9, and this release reads up to format {SCHEMA_VERSION}\n" in "".join(capfd.readouterr())
    assert cli._main(["--store", str(domain.path("store")), "history"]) == 3
    assert "install the release that wrote it" in capfd.readouterr().err


def test_a_commit_by_a_clock_that_stands_before_the_last_one_is_refused(
    domain: Domain1, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.policy.cli.time.time", lambda: 1000.0)
    assert cli._main(["--store", str(domain.path("store")), "check"]) == 3
    assert "1970-01-01" in "".join(capfd.readouterr())
    assert cli._main(["--store", str(domain.path("store")), "renew"]) == 2
    assert "timedatectl" in capfd.readouterr().err


def test_documents_that_end_soon_are_a_warning_with_the_command_that_renews_them(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    commissioned(tmp_path, int(time.time()) - 80 * 86400)
    store = str(tmp_path / "store")
    assert cli._main(["--store", store, "check"]) == 0
    output = "".join(capfd.readouterr())
    assert "end soon, the first at" in output and "policy renew" in output
    assert cli._main(["--store", store, "renew"]) == 0
    capfd.readouterr()
    assert cli._main(["--store", store, "check"]) == 0
    assert "end soon" not in "".join(capfd.readouterr())


def test_an_events_file_on_a_full_disk_is_told_once_where_it_can_be_read(capfd: pytest.CaptureFixture[str]) -> None:
    log = EventLog(Path("/dev/full"), "r1", Journal("lks", Level.INFO))
    for _ in range(3):
        log.write(Event("keyed"))
    log.close()
    output = capfd.readouterr().err
    assert output.count("error events detail=") + output.count("what=events") == 1 and "/dev/full" in output
    assert output.count("info keyed") == 3


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(("setting", "code"), [("socket", 0), ("events", 2)])
def test_a_folder_that_is_not_there_for_what_a_daemon_makes_is_named(
    domain: Domain1,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    setting: str,
    code: int,
) -> None:
    name = {"socket": "sock", "events": "events"}[setting]
    renamed(domain.path(program), f'{setting} = "{name}"', f'{setting} = "none/{name}"')
    assert PROGRAMS[program](["check", "--config", str(domain.config(program))]) == 3
    output = "".join(capfd.readouterr())
    assert f"{domain.path(program)}/none: No such file or directory" in output and "ls -l" in output
    if code:  # without a socket it does its work, and says so
        assert PROGRAMS[program](["run", "--config", str(domain.config(program))]) == code
        assert "none/events: events cannot be written there" in capfd.readouterr().err
