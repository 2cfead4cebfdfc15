"""What `lks check` says of a router's interfaces."""

from __future__ import annotations

import pytest

from agents.ipsec.protection import RoutingProtocol
from agents.lks import check
from agents.runtime.checks import Checks, State
from agents.runtime.links import LinkState
from testbed.simulation.network import Network


@pytest.mark.parametrize("protocol", [RoutingProtocol.OSPF, RoutingProtocol.OSPF6])
def test_an_interface_is_looked_for_by_the_address_that_its_policy_has(
    protocol: RoutingProtocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = Network({"ab": ("a", "b")}, protocols=(protocol,)).documents["a"]
    (interface,) = document.interfaces
    address = str(interface.address or interface.address6)
    for has, state in ((address, State.OK), ("192.0.2.9", State.WARNING)):
        found = {interface.name: LinkState(1, True, frozenset({has}))}
        monkeypatch.setattr(check, "snapshot", lambda found=found: found)
        checks = Checks()
        check._links(checks, document)
        assert [each.state for each in checks.findings] == [state] and address in checks.findings[0].detail
