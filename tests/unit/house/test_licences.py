"""What every file may be used for is said, in words that programs understand (the REUSE specification)."""

from __future__ import annotations

import tomllib
from pathlib import PurePath

from testbed.setup.paths import PROJECT

SAID = tomllib.loads((PROJECT / "REUSE.toml").read_text())["annotations"]
KERNEL = "testbed/guest/kernel/patches"


def licence(path: str) -> str:
    """The last annotation that fits decides."""
    fits = [each for each in SAID if each["path"] == "**" or PurePath(path).match(each["path"])]
    return str(fits[-1]["SPDX-License-Identifier"])


def test_changes_of_the_kernel_are_under_the_kernels_licence_and_all_else_is_ours() -> None:
    patches = [path.name for path in (PROJECT / KERNEL).glob("*.patch")]
    assert patches and {licence(f"{KERNEL}/{name}") for name in patches} == {"GPL-2.0-only"}
    assert {licence(path) for path in ("agents/lks/core.py", "lab", "docs/install.md")} == {"Apache-2.0"}


def test_a_network_of_topohub_is_under_topohubs_licence_and_names_its_author() -> None:
    (said,) = (each for each in SAID if each["SPDX-License-Identifier"] == "MIT")
    assert licence("topologies/gabriel.yaml") == "MIT" and licence("topologies/abilene.yaml") == "Apache-2.0"
    assert said["SPDX-FileCopyrightText"] in (PROJECT / "LICENSES" / "MIT.txt").read_text()


def test_the_text_of_every_licence_is_there() -> None:
    for each in SAID:
        text = (PROJECT / "LICENSES" / f"{each['SPDX-License-Identifier']}.txt").read_text()
        assert "TERMS AND CONDITIONS" in text or "Permission is hereby granted" in text
    assert (PROJECT / "LICENSE").read_text() == (PROJECT / "LICENSES" / "Apache-2.0.txt").read_text()
