"""A neighbour with its own good key, as key server and as member, against an LKS (`issuer: lks`)."""

from __future__ import annotations

from agents.ikev2.registry import ExchangeType
from fuzz.harness import Target, promise
from fuzz.inside import Liar, programs, refused_alike
from testbed.domains.drawn import PROTOCOLS
from testbed.simulation.network import Network

_MOMENTS = (
    (ExchangeType.GSA_INBAND_REKEY, False),
    (ExchangeType.GSA_AUTH, False),
    (ExchangeType.GSA_AUTH, True),
    (ExchangeType.GSA_REGISTRATION, False),
    (ExchangeType.GSA_REGISTRATION, True),
    (ExchangeType.GSA_INBAND_REKEY, True),
    (ExchangeType.INFORMATIONAL, False),
)


def run(data: bytes) -> object:
    exchange, response = _MOMENTS[data[0] % len(_MOMENTS)] if data else _MOMENTS[0]
    # A registration of its own is there only for a second group.
    several = exchange == ExchangeType.GSA_REGISTRATION
    network = Network({"link": ("a", "b")}, protocols=PROTOCOLS if several else PROTOCOLS[:1])
    liar = Liar(network, "b", int(exchange), response, data[1:])
    if exchange in (ExchangeType.GSA_AUTH, ExchangeType.GSA_REGISTRATION):
        with liar:
            network.power_on_all()
            network.run(0.2)
    else:
        network.power_on_all()
        network.run(0.2)
        with liar:
            network.command("a" if response else "b", "rekey")
            if exchange == ExchangeType.INFORMATIONAL:
                network.lks("b").link["b-e0"].listeners["a"].check(network.now)
                network.lks("b").link["b-e0"].tick(network.now)
            refused_alike(network, "a", lambda: network.run(network.now + 0.05))
    promise(network.nodes["a"].core is not None, "the victim is gone")
    network.run(network.now + 1)  # and after it told the truth again, nothing is left over
    return (liar.lies, network.all_keyed())


TARGET = Target(run, (), programs)
