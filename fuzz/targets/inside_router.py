"""A router with its own good key against the DKS: what it asks, reports and answers."""

from __future__ import annotations

from agents.ikev2.registry import ExchangeType
from agents.policy.domain import Settings
from fuzz.harness import Target, promise
from fuzz.inside import Liar, programs
from testbed.domains.drawn import PROTOCOLS
from testbed.simulation.network import Network

_MOMENTS = (
    (ExchangeType.GSA_AUTH, False),
    (ExchangeType.GSA_REGISTRATION, False),
    (ExchangeType.GSA_INBAND_REKEY, True),
    (ExchangeType.INFORMATIONAL, False),
)


def run(data: bytes) -> object:
    exchange, response = _MOMENTS[data[0] % len(_MOMENTS)] if data else _MOMENTS[0]
    settings = Settings(validity_s=1 << 33, issuer="dks", local_key_server=False)
    network = Network({"link": ("a", "b")}, settings=settings, dks=True, protocols=PROTOCOLS[:1])
    network.power_on("dks")
    with Liar(network, "b", int(exchange), response, data[1:]) as liar:
        network.power_on("b")
        network.run(0.3)
        network.power_on("a")
        network.run(0.6)
    promise(network.nodes["dks"].core is not None, "the DKS is gone")
    network.run(network.now + 2)
    honest = [each for each in network.seen("registered", "dks") if each.fields.get("peer") == "a"]
    promise(bool(honest), "an honest router is not served any more")
    return (liar.lies, network.all_keyed())


TARGET = Target(run, (), programs)
