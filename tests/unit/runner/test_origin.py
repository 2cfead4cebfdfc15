"""A run says of what exactly its guest was made, and what of it is another elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.record import origin
from testbed.setup import kernel, made_of, tree
from testbed.setup.archive import Package

FRR, BASH = Package("frr", "10.3-3", "amd64", "a" * 64), Package("bash", "5", "amd64", "b" * 64)
SOURCE = {"linux-source-7.3": f"7.3.4-1 all {'c' * 64}", "gcc": f"12 {'d' * 64}"}


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A guest of two packages, one wheel and a kernel."""
    monkeypatch.setenv("LAB_CACHE", str(tmp_path))
    wheel = tree.tree().path / "root" / tree.SITE / "rich-15.0.dist-info"
    wheel.mkdir(parents=True)
    (wheel / "RECORD").write_text("rich/__init__.py,sha256=x,1\nrich-15.0.dist-info/METADATA,sha256=y,1\n")
    (tree.tree().path / tree.RESOLVED).write_text(f"{FRR}\n{BASH}\n")
    kernel.kernel().path.mkdir()
    (kernel.kernel().path / kernel.MADE_OF).write_text(json.dumps(SOURCE))
    (kernel.kernel().path / "version").write_text("linux-source-7.3_7.3.4-1_all 7.3.4-testbed\n")
    return tmp_path


def test_an_origin_holds_every_part_by_version_and_hash_and_is_read_as_it_was_written(guest: Path) -> None:
    made = origin.here("virtual", "code")
    assert made.made_of["debian"] == {"frr": f"10.3-3 amd64 {'a' * 64}", "bash": f"5 amd64 {'b' * 64}"}
    assert made.made_of["kernel"] == SOURCE and made.made_of["wheels"]["rich"].startswith("15.0 ")
    made.write(guest)
    assert origin.read(guest) == made and made.differs(made) == []


def test_what_of_another_guest_is_another_is_named(guest: Path) -> None:
    then = origin.here("virtual", "code")
    newer = replace(FRR, version="10.3-4", sha256="e" * 64)
    (tree.tree().path / tree.RESOLVED).write_text(f"{newer}\n{replace(BASH, sha256='f' * 64)}\n")
    (line,) = then.differs(origin.here("virtual", "code"))
    assert line.startswith("another guest tree: ") and line.endswith("now: bash, rebuilt; frr 10.3-3 → 10.3-4")
    (kernel.kernel().path / kernel.MADE_OF).write_text(json.dumps({**SOURCE, "gcc": f"14 {'0' * 64}"}))
    assert any("gcc 12 → 14" in line for line in then.differs(origin.here("virtual", "code")))


def test_an_origin_of_before_there_were_parts_is_compared_by_its_hashes(guest: Path) -> None:
    (guest / origin.FILE).write_text('{"kind": "virtual", "kernel": "k", "tree": "t", "code": "code", "commit": null}')
    then = origin.read(guest)
    assert then is not None
    assert [line.partition(":")[0] for line in then.differs(origin.here("virtual", "code"))] == [
        "another guest kernel", "another guest tree",
    ]  # fmt: skip


def test_a_run_on_somebody_elses_kernel_names_that_kernel(guest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert made_of.kernel_identity("uml") == kernel.identity() != made_of.kernel_identity("native")
    (kernel.kernel().path / "version").unlink()
    (kernel.kernel().path / kernel.MADE_OF).unlink()
    kernel.kernel().path.rmdir()
    monkeypatch.setattr("testbed.setup.host_packages.version", lambda package: "6.1um4")
    assert made_of.kernel_identity("uml") == "user-mode-linux 6.1um4"


def test_a_summary_has_versions_to_read_and_hashes_apart(guest: Path) -> None:
    told = made_of.inventory()
    assert told["packages"] == {"frr": "10.3-3", "bash": "5"} and told["python_packages"] == {"rich": "15.0"}
    assert told["kernel_made_of"] == {"linux-source-7.3": "7.3.4-1 all", "gcc": "12"}
    assert told["sha256"]["debian"]["frr"] == "a" * 64 and told["sha256"]["kernel"]["gcc"] == "d" * 64
    assert told["guest_tree"] == tree.identity() and told["guest_kernel"] == kernel.identity()
