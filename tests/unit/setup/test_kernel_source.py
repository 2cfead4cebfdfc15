"""Which kernel source is taken, and that the configuration and patches are what the build expects."""

from __future__ import annotations

import re

import pytest

from testbed.errors import EnvironmentFailure
from testbed.setup import kernel


def test_the_newest_source_is_the_highest_number_not_the_last_letter() -> None:
    assert kernel.newest(["linux-source-7.3", "linux-source-7.12", "linux-source-6.12"]) == "linux-source-7.12"


def test_the_meta_package_and_sources_that_are_too_old_are_not_taken() -> None:
    with pytest.raises(EnvironmentFailure, match="no kernel source"):
        kernel.newest(["linux-source", "linux-source-6.1"])


def test_the_configuration_says_each_option_once_and_the_patches_are_in_order() -> None:
    names = re.findall(r"^(CONFIG_\w+)=", kernel.CONFIG.read_text(), re.MULTILINE)
    assert len(names) == len(set(names))
    assert [patch.name[:5] for patch in kernel.patches()] == ["0001-", "0002-"]


def test_the_kernel_says_nowhere_when_and_where_it_was_built() -> None:
    makefile_words = ("KBUILD_BUILD_TIMESTAMP", "KBUILD_BUILD_USER", "KBUILD_BUILD_HOST", "KBUILD_BUILD_VERSION")
    assert all(kernel.STAMP[word] for word in makefile_words)
    if kernel.kernel().ready:
        assert f"#1 {kernel.STAMP['KBUILD_BUILD_TIMESTAMP']}".encode() in kernel.binary().read_bytes()
