"""Where a guest's memory goes, what its command line says, and that no path of the host is in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from testbed.errors import EnvironmentFailure
from testbed.guest import boot, native, uml
from testbed.setup import kernel, tree


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    tree.tree().path.mkdir(parents=True)
    kernel.kernel().path.mkdir()
    return tmp_path


def command(folder: Path, name: str, *, virtual: bool = True, seed: int = 3) -> list[str]:
    control = folder / name
    control.mkdir()
    return uml.argv(root=tree.tree(), virtual=virtual, run_dir=folder, control_dir=control, seed=seed, memory_mib=512)


def test_the_command_line_is_the_same_wherever_the_run_is_kept(made: Path) -> None:
    assert command(made, "a") == command(made, "b")
    assert not any(str(made) in word for word in command(made, "c")[1:])


def test_the_links_lead_to_tree_project_and_run(made: Path) -> None:
    command(made, "a")
    assert {link.name for link in (made / "a").iterdir()} == {"root", "project", "code", "run"}
    assert (made / "a" / "run").resolve() == made


def test_only_virtual_time_is_asked_to_travel_and_it_starts_at_a_fixed_date(made: Path) -> None:
    assert {"time-travel=inf-cpu", f"time-travel-start={uml.VIRTUAL_EPOCH_NS}"} <= set(command(made, "a"))
    assert not [word for word in command(made, "b", virtual=False) if word.startswith("time-travel")]


def test_without_our_kernel_virtual_time_says_how_to_get_it(made: Path) -> None:
    kernel.kernel().path.rmdir()
    with pytest.raises(EnvironmentFailure, match="kernel is not built") as raised:
        command(made, "a")
    assert raised.value.next_command == "./lab setup --kernel virtual"


def test_without_our_kernel_the_real_clock_takes_debians_with_its_modules(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.kernel().path.rmdir()
    ready = made / "linux.uml"
    ready.write_text("")
    monkeypatch.setattr(uml, "READY_UML", ready)
    words = command(made, "a", virtual=False)
    assert words[0] == str(ready)
    assert "lab_modules=/proc/self/cwd/modules" in words
    assert not [word for word in words if word.startswith("testbed_seed")]


def test_memory_goes_to_the_first_folder_with_room(tmp_path: Path) -> None:
    assert uml.memory_folder(1, (tmp_path / "absent", tmp_path)) == tmp_path


def test_no_room_for_memory_names_every_folder_that_was_tried(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailure, match="MiB free") as raised:
        uml.memory_folder(10**9, (tmp_path, Path("/nowhere")))
    assert str(tmp_path) in raised.value.problem and "/nowhere: cannot be written" in raised.value.problem


def test_a_folder_mounted_noexec_is_not_taken_for_memory() -> None:
    noexec = next((Path(path) for path in ("/proc", "/sys") if os.statvfs(path).f_flag & os.ST_NOEXEC), None)
    if noexec is None or not os.access(noexec, os.W_OK):
        pytest.skip("no folder here is mounted noexec and can be written")
    with pytest.raises(EnvironmentFailure, match="noexec"):
        uml.memory_folder(0, (noexec,))


def test_a_native_kernel_needs_root_and_says_what_else_there_is(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(EnvironmentFailure, match="needs root") as raised:
        native.argv(tree.tree(), made)
    assert raised.value.allowed and "virtual" in raised.value.allowed


def test_a_native_kernel_that_lacks_something_names_it(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(native, "lacking", lambda root, needs: ["ESP", "netem"])
    with pytest.raises(EnvironmentFailure, match="lacks ESP, netem"):
        native.argv(tree.tree(), made)


def test_the_tail_of_a_console_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"{number}\n" for number in range(100)))
    assert boot.tail(log, 2) == "    98\n    99"
    assert boot.tail(tmp_path / "absent") == "    (it printed nothing)"
