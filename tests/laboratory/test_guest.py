"""Guests as this machine sees them: their clock, their answers, their randomness, and their end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testbed.errors import EnvironmentFailure, InputError
from testbed.guest import supervise
from testbed.guest.boot import GuestResult, GuestSpec, run_guest
from testbed.setup import kernel, tree
from testbed.setup.paths import PROJECT

pytestmark = pytest.mark.skipif(
    not (kernel.kernel().ready and tree.tree().ready), reason="./lab setup has not made the guest yet"
)


def boot(folder: Path, *command: str, seed: int = 1) -> GuestResult:
    return run_guest(GuestSpec("virtual", command, folder, seed=seed), timeout_s=120)


def test_an_hour_passes_inside_while_the_command_sleeps(tmp_path: Path) -> None:
    result = boot(tmp_path, "sleep", "3600")
    assert result.exit_code == 0
    assert 3600 <= result.virtual_s < 3602


def test_every_guest_starts_at_the_same_date(tmp_path: Path) -> None:
    result = boot(tmp_path, "date", "-u", "+%Y-%m-%d %H:%M")
    assert "2030-01-01 00:00" in result.console_log.read_text()


@pytest.mark.parametrize(
    ("command", "code"), [(["true"], 0), (["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -9 $$"], 137)]
)
def test_the_exit_code_of_the_command_comes_back(tmp_path: Path, command: list[str], code: int) -> None:
    assert boot(tmp_path, *command).exit_code == code


def test_a_command_that_does_not_exist_answers_like_a_shell(tmp_path: Path) -> None:
    result = boot(tmp_path, "no-such-program")
    assert result.exit_code == 127
    assert "no-such-program: No such file or directory" in result.console_log.read_text()


def test_the_same_seed_gives_the_same_randomness_in_any_folder_and_another_seed_another(tmp_path: Path) -> None:
    def drawn(name: str, seed: int) -> str:
        folder = tmp_path / name
        boot(folder, "python3", "-c", "import os; open('/lab/run/r', 'w').write(os.urandom(32).hex())", seed=seed)
        return (folder / "r").read_text()

    first = drawn("a", 5)
    assert len(first) == 64
    assert drawn("a folder with blanks", 5) == first
    assert drawn("c", 6) != first


def test_the_run_folder_is_shared_and_everything_else_of_the_host_is_read_only(tmp_path: Path) -> None:
    script = "cat /lab/run/in > /lab/run/out; touch /lab/project/x; touch /usr/x; ls /lab/project/lab && ls /home"
    (tmp_path / "in").write_text("hello")
    result = boot(tmp_path, "sh", "-c", script)
    assert (tmp_path / "out").read_text() == "hello"
    assert result.console_log.read_text().count("Read-only file system") == 2
    assert not (PROJECT / "x").exists()


@pytest.mark.skipif(supervise.landlock() < supervise.LANDLOCK, reason="this kernel has no Landlock")
def test_the_guests_root_reaches_no_file_of_the_host_whatever_it_mounts(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("a secret")
    run = tmp_path / "run"
    (run / "folder").mkdir(parents=True)
    (run / "file").touch()
    script = f"""
    reach() {{
        mount -t hostfs -o "hostfs=$1" host /mnt || mount -t hostfs -o "$1" host /mnt || return
        for file in secret passwd etc/passwd; do
            cat /mnt/$file && echo it reads $1/$file
        done
        touch /mnt/new && echo it writes to $1
        umount /mnt
    }}
    ln -s {outside} /lab/run/link
    for path in {outside} /proc/self/cwd/run/link /proc/self/cwd/run/../outside /etc /dev / /proc/1/root; do
        reach $path
    done
    mount -t hostfs -o hostfs=/proc/self/cwd/project host /mnt && touch /mnt/new && echo it writes to the checkout
    umount /mnt
    mount -t hostfs -o hostfs=/proc/self/cwd/root host /mnt && touch /mnt/new && echo it writes to the tree
    mv /lab/run/file /lab/run/folder && echo its own folder is its own
    """
    log = boot(run, "sh", "-c", script).console_log.read_text()
    assert "it reads" not in log and "it writes" not in log, log
    assert "its own folder is its own" in log
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_nothing_but_the_log_and_the_answer_stays_in_the_run_folder(tmp_path: Path) -> None:
    boot(tmp_path, "true")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["console.log", "guest-exit.json", "guest.json"]


def test_an_unknown_kernel_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        run_guest(GuestSpec("xen", ("true",), tmp_path))  # type: ignore[arg-type]
    assert raised.value.allowed == "virtual, uml, native"


def test_a_run_folder_that_cannot_be_made_is_an_environment_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFailure, match="cannot be written"):
        boot(tmp_path / "file" / "run", "true")


def test_the_answer_of_an_earlier_run_is_never_taken_for_this_one(tmp_path: Path) -> None:
    (tmp_path / "guest-exit.json").write_text(json.dumps({"exit_code": 0, "virtual_s": 1.0}))
    result = boot(tmp_path, "sh", "-c", "exit 9")
    assert result.exit_code == 9
