"""Which kernel source is taken, and that the configuration and patches are what the build expects."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from testbed.errors import EnvironmentFailure
from testbed.setup import kernel
from testbed.setup.archive import Package
from testbed.setup.command import DiskFull


def test_the_newest_source_is_the_highest_number_not_the_last_letter() -> None:
    assert kernel.newest(["linux-source-7.3", "linux-source-7.12", "linux-source-6.12"]) == "linux-source-7.12"


def test_the_meta_package_and_sources_that_are_too_old_are_not_taken() -> None:
    with pytest.raises(EnvironmentFailure, match="no kernel source"):
        kernel.newest(["linux-source", "linux-source-6.1"])


def test_the_configuration_says_each_option_once_and_the_patches_are_in_order() -> None:
    names = re.findall(r"^(CONFIG_\w+)=", kernel.CONFIG.read_text(), re.MULTILINE)
    assert len(names) == len(set(names))
    names = [patch.name for patch in kernel.patches()]
    assert [name[:5] for name in names] == [f"{number:04}-" for number in range(1, len(names) + 1)]


def test_every_patch_says_what_it_is_for_and_under_which_licence() -> None:
    for patch in kernel.patches():
        said = patch.read_text().partition("\n--- ")[0]
        assert "SPDX-License-Identifier: GPL-2.0" in said, patch
        assert len(said.split()) > 20, patch


def test_a_kernel_gets_only_the_patches_that_it_has_a_use_for() -> None:
    def left_out(*version: int) -> list[str]:
        return [patch.name for patch in kernel.patches() if patch not in kernel.patches(version)]

    assert left_out(7, 3) == ["0011-no-jitter.patch"]
    assert left_out(7, 2) == []
    assert left_out(6, 12) == ["0007-keep-memory.patch"]


def test_a_patch_for_other_kernels_alone_asks_for_no_rebuild(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = kernel.kernel().key
    shutil.copytree(kernel.FOLDER / "patches", tmp_path / "patches")
    monkeypatch.setattr(kernel, "FOLDER", tmp_path)
    other, ours = (tmp_path / "patches" / name for name in ("0011-no-jitter.patch", "0001-clock-cost.patch"))
    other.write_text(other.read_text() + "\n")
    assert kernel.kernel().key == before
    ours.write_text(ours.read_text() + "\n")
    assert kernel.kernel().key != before


class Archive:
    """Stands for apt: the kernel sources that a mirror offers."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def fetched(self, refused: Sequence[str]) -> tuple[Package, Path]:
        name = kernel.newest(self.names, refused)
        return Package(name, "1", "all", "0" * 64), Path(f"{name}_1_all.deb")


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> Archive:
    found = Archive("linux-source-6.12", "linux-source-7.3", "linux-source-7.9")
    monkeypatch.setattr(kernel, "fetched", found.fetched)
    monkeypatch.setattr(kernel, "_compiler", dict)
    monkeypatch.setattr(kernel.host_packages, "install", lambda packages: None)
    return found


def steps(monkeypatch: pytest.MonkeyPatch, refuse: Callable[[str, Path], None]) -> list[str]:
    """Lets the steps of a build be played instead of run; `refuse` may raise for one. The commands, as they come."""
    seen: list[str] = []

    def run(argv: Sequence[str | Path], *, cwd: Path = Path(), **options: object) -> str:
        words = [str(word) for word in argv]
        seen.append(" ".join(words))
        if words[0] == "dpkg-deb":
            name = words[2].split("_")[0]
            (Path(words[3]) / "usr" / "src").mkdir(parents=True)
            (Path(words[3]) / "usr" / "src" / f"{name}.tar.xz").touch()
        elif words[0] == "tar":
            (Path(words[4]) / Path(words[2]).name.removesuffix(".tar.xz")).mkdir()
        else:
            refuse(words[0], cwd)
        if words[-1] == "allnoconfig":
            (cwd / ".config").write_text(kernel.CONFIG.read_text())
        if words[-1] == "linux":
            (cwd / "linux").write_text(cwd.name)
        return "release"

    monkeypatch.setattr(kernel, "run", run)
    return seen


@pytest.mark.parametrize("step", ["patch", "make"])
def test_a_source_that_refuses_gives_way_to_the_next_older_one_and_that_is_said(
    step: str, archive: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(program: str, source: Path) -> None:
        if program == step and source.name == "linux-source-7.9":
            raise EnvironmentFailure(f"{step} failed (exit code 1)")

    steps(monkeypatch, refuse)
    kernel._build(tmp_path)
    assert (tmp_path / "linux").read_text() == "linux-source-7.3"
    assert (tmp_path / "version").read_text().startswith("linux-source-7.3")
    assert not (tmp_path / "work").exists()
    said = capsys.readouterr().err
    assert f"linux-source-7.9 cannot be used: {step} failed" in said and "next older" in said


def test_a_full_disk_is_no_reason_to_try_another_source(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(program: str, source: Path) -> None:
        raise DiskFull("compiling the kernel failed, since the disk is full")

    seen = steps(monkeypatch, refuse)
    with pytest.raises(DiskFull):
        kernel._build(tmp_path)
    assert sum(line.startswith("dpkg-deb") for line in seen) == 1


def test_when_no_source_is_left_the_error_names_all_that_refused(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(program: str, source: Path) -> None:
        raise EnvironmentFailure("applying a patch failed")

    steps(monkeypatch, refuse)
    with pytest.raises(EnvironmentFailure, match=r"7\.9, linux-source-7\.3, linux-source-6\.12 did not take"):
        kernel._build(tmp_path)


def test_an_older_source_is_built_without_the_patches_for_newer_ones(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    archive.names = ("linux-source-6.12",)
    seen = steps(monkeypatch, lambda program, source: None)
    kernel._build(tmp_path)
    applied = [line.rsplit("/", 1)[1] for line in seen if line.startswith("patch ")]
    assert applied == [patch.name for patch in kernel.patches((6, 12))]


def test_the_kernel_says_nowhere_when_and_where_it_was_built() -> None:
    makefile_words = ("KBUILD_BUILD_TIMESTAMP", "KBUILD_BUILD_USER", "KBUILD_BUILD_HOST", "KBUILD_BUILD_VERSION")
    assert all(kernel.STAMP[word] for word in makefile_words)
    if kernel.kernel().ready:
        assert f"#1 {kernel.STAMP['KBUILD_BUILD_TIMESTAMP']}".encode() in kernel.binary().read_bytes()
