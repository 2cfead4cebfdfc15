"""A DKS with its good key against a router whose keys it makes (`issuer: dks`)."""

from __future__ import annotations

from agents.ikev2.registry import ExchangeType
from agents.policy.domain import Settings
from fuzz.harness import Target, promise
from fuzz.inside import Liar, programs, refused_alike
from testbed.domains.drawn import PROTOCOLS
from testbed.simulation.network import Network

_MOMENTS = (
    (ExchangeType.GSA_INBAND_REKEY, False),
    (ExchangeType.GSA_AUTH, True),
    (ExchangeType.GSA_REGISTRATION, True),
)


def run(data: bytes) -> object:
    exchange, response = _MOMENTS[data[0] % len(_MOMENTS)] if data else _MOMENTS[0]
    settings = Settings(validity_s=1 << 33, issuer="dks", local_key_server=False)
    network = Network({"link": ("a", "b")}, settings=settings, dks=True, protocols=PROTOCOLS[:1])
    liar = Liar(network, "dks", int(exchange), response, data[1:])
    if response:
        with liar:
            network.power_on_all()
            network.run(0.5)
    else:
        network.power_on_all()
        network.run(0.5)
        with liar:
            network.power_off("b")
            network.power_on("b")  # a sender that comes anew has the DKS push a generation to the others
            refused_alike(network, "a", lambda: network.run(network.now + 0.2))
    promise(network.nodes["a"].core is not None, "the victim is gone")
    network.run(network.now + 3)
    return (liar.lies, network.all_keyed())


TARGET = Target(run, (), programs)
