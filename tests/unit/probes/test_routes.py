"""Which interfaces of a node are watched."""

from __future__ import annotations

import pytest

from testbed.probes.routes import _UNPLUGGED


@pytest.mark.parametrize("name", ["losang-eth0", "london-eth1", "sitges-eth0", "grenoble-eth0", "eth0", "pimreg-eth0"])
def test_a_routers_interface_is_watched_whatever_its_name_begins_with(name: str) -> None:
    assert not _UNPLUGGED.fullmatch(name)


@pytest.mark.parametrize(
    "name", ["lo", "sit0", "gre0", "gretap0", "erspan0", "tunl0", "ip6tnl0", "pimreg", "pimreg1000"]
)
def test_what_the_kernel_or_pimd_makes_by_itself_is_not(name: str) -> None:
    assert _UNPLUGGED.fullmatch(name)
