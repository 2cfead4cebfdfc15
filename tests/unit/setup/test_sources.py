"""Which mirrors are taken, and what a kernel source must offer."""

from __future__ import annotations

import pytest

from testbed.errors import EnvironmentFailure
from testbed.setup import kernel
from testbed.setup.mirrors import chosen


def test_the_mirror_is_the_machines_own_and_security_updates_come_from_theirs() -> None:
    listed = "\n".join(
        [
            "http://near/debian bookworm Debian",
            "http://near/debian bookworm-updates Debian",
            "http://near/debian-security bookworm-security Debian",
            "http://packages.example/tool stable Tool Makers",
        ]
    )
    assert chosen(listed) == ("http://near/debian", "http://near/debian-security")


def test_a_machine_without_security_updates_still_has_a_mirror() -> None:
    assert chosen("http://near/debian trixie Debian\n") == ("http://near/debian", None)


@pytest.mark.parametrize("listed", ["", "http://archive.example/ubuntu noble Ubuntu\n"])
def test_a_machine_without_a_debian_mirror_is_told_what_is_missing(listed: str) -> None:
    with pytest.raises(EnvironmentFailure, match="no Debian mirror") as raised:
        chosen(listed)
    assert raised.value.next_command == "sudo apt-get update"


def written(without: str = "") -> str:
    lines = {*kernel.CONFIG.read_text().splitlines(), "CONFIG_SYSCTL=y"} - {without}
    return "\n".join(sorted(lines))


def test_a_configuration_that_kconfig_took_whole_is_accepted() -> None:
    kernel.check_configuration(written())


@pytest.mark.parametrize("option", ["CONFIG_INET_ESP=y", "CONFIG_UML_TIME_TRAVEL_SUPPORT=y", "CONFIG_NET_SCH_NETEM=y"])
def test_an_option_that_kconfig_dropped_is_named_before_the_build(option: str) -> None:
    with pytest.raises(EnvironmentFailure, match=option):
        kernel.check_configuration(written(without=option))


def test_either_name_of_a_renamed_option_will_do_but_one_must_be_there() -> None:
    neither = "\n".join(line for line in written().splitlines() if "SYSCTL" not in line)
    for name in sorted(kernel.EITHER):
        kernel.check_configuration(f"{neither}\n{name}")
    with pytest.raises(EnvironmentFailure, match="SYSCTL"):
        kernel.check_configuration(neither)
