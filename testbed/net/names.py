"""What names mean in the nodes: one /etc/hosts, which every node reads, and the prompt of a shell.

A router's name is its loopback, a host's is its address. It must not know how nodes are made or started.
"""

from __future__ import annotations

from pathlib import Path

from testbed.net.disk import bind, unbind
from testbed.topology.resolved import IPAddress, Topology

HOSTS = Path("/etc/hosts")
SHELL_PROMPT = r"\u@\H:\w\$ "
"""bash's PS1: the whole hostname, for a node's name may hold dots. The Bourne shell shows it as it is written."""
_LOCAL = """127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
"""


def hosts_text(topology: Topology, dks: IPAddress | None) -> str:
    """The file's text. `dks`: where the key server is reached, if there is one.

    Loopbacks of IPv6 stand in it where OSPFv3 carries them; a name that leads nowhere only makes programs wait.
    """
    lines = []
    for name, router in topology.routers.items():
        lines.append(f"{router.loopback.ip} {name}")
        if topology.ospf.v3:
            lines.append(f"{router.loopback6.ip} {name}")
    lines += [f"{host.ipv4.ip} {name}" for name, host in topology.hosts.items()]
    if dks is not None:
        lines.append(f"{dks} dks")
    return _LOCAL + "".join(f"{line}\n" for line in lines)


class Names:
    """The file of one laboratory, laid over the guest's own /etc/hosts while the laboratory is there."""

    def __init__(self, topology: Topology, dks: IPAddress | None, folder: Path) -> None:
        """Write it into `folder`, and lay it over. OSError when that cannot be."""
        file = folder / "hosts"
        file.write_text(hosts_text(topology, dks), encoding="ascii")
        bind(file, HOSTS)

    def close(self) -> None:
        """Bring the guest's own file back."""
        unbind(HOSTS)
