"""`lks check`: can this router's LKS do its work? Before its start or while it runs. Changes nothing.

The kernel is tried in a network namespace of its own, which ends with the trial.
"""

from __future__ import annotations

import ctypes
import os
import socket
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.ikev2.config import shortfall
from agents.ipsec.guard import GuardError, NftGuard
from agents.ipsec.model import Guard, IpsecProtocol, SecurityAssociation
from agents.ipsec.plan import algorithms
from agents.ipsec.protection import IPAddress, Suite
from agents.ipsec.xfrm import Xfrm
from agents.lks.config import LksConfig, read_config
from agents.lks.core import LksCore
from agents.lks.files import KEY_FIX, core_of
from agents.lks.lease import LEASE, left_of
from agents.policy.document import PolicyDocument
from agents.policy.keys import spki
from agents.runtime import checks as common
from agents.runtime.checks import Checks
from agents.runtime.clock import WallClock
from agents.runtime.links import LinkState, snapshot
from agents.runtime.storage import read_all
from agents.runtime.udp import bind

_CLONE_NEWNET = 0x40000000
_SPI, _OSPF = 0x1000, 89
_PLACES: tuple[tuple[IPAddress, IPAddress], ...] = (
    (IPv4Address("192.0.2.1"), IPv4Address("224.0.0.5")),
    (IPv6Address("fe80::1"), IPv6Address("ff02::5")),
)
MODULES = (
    "modprobe -a xfrm_user esp4 esp6 nf_tables; "
    "zgrep -E 'XFRM|ESP|AES|GCM|NF_TABLES' /proc/config.gz /boot/config-$(uname -r)"
)


def check(path: Path) -> Checks:
    """All findings, as far as earlier failures allow."""
    checks = Checks()
    config = checks.tried("configuration", lambda: read_config(path), str(path))
    if config is None:
        return checks
    common.config_file(checks, path)
    identity, _server = common.keys(checks, config.identity, config.policy_server_key, config.state_dir)
    common.state_folder(checks, config.state_dir)
    core = checks.tried("policy and counters", lambda: core_of(config, _no_sequence, log_keys=False), _policy)
    now_s = WallClock(config.clock)()
    if config.clock is not None:
        checks.warn("clock", f"{config.clock}: the clock offset of a laboratory is in force", "remove the line `clock`")
    common.clock(checks, now_s, 0 if core is None else core.document.issued_at, "the policy was issued")
    if core is not None:
        _document(checks, config, core.document, identity, now_s)
        _links(checks, core.document)
    _kernel(checks, Suite.default() if core is None else core.document.suite)
    common.doors(checks, "lks", config, f"UDP port {config.port}", lambda: bind(config.port))
    return checks


def _no_sequence(spi: int, destination: IPAddress) -> int:
    raise LookupError("the kernel is not examined")


def _policy(core: LksCore) -> str:
    document = core.document
    neighbors = {each.router for interface in document.interfaces for each in interface.neighbors}
    return f"version {document.version}, {len(document.interfaces)} interfaces, {len(neighbors)} neighbours"


def _document(
    checks: Checks, config: LksConfig, document: PolicyDocument, identity: Ed25519PrivateKey | None, now_s: float
) -> None:
    if identity is not None and spki(identity) != document.identity:
        checks.wrong("identity", f"{config.identity}: not the key that {config.name}'s document names", KEY_FIX)
    if now_s >= document.expires_at:
        at = common.utc(document.expires_at)
        command = "on the Policy Server: policy renew, then policy export, or let the DKS bring the next one"
        checks.wrong("policy", f"version {document.version} expired at {at} by this clock", command)
    if (lacking := shortfall(document.key_exchange)) is not None:
        checks.warn("key exchange", lacking)
    try:
        record = read_all(config.state_dir / LEASE)
    except OSError:
        return  # the first start has none, and other problems have been reported
    whole = document.lease.seconds
    rest = f"s of {whole} left at a start now"
    left = checks.tried("lease", lambda: min(left_of(record, now_s), whole), lambda seconds: f"{seconds:.0f} {rest}")
    if left == 0:
        command = "reach the DKS (lks status), or carry a new policy here"
        checks.wrong("lease", f"over; policy says {document.lease.at_end}", command)


def _links(checks: Checks, document: PolicyDocument) -> None:
    states: dict[str, LinkState] | None = None
    try:
        states = snapshot()
    except OSError as error:
        checks.wrong("interfaces", str(error), "ip link")
    for policy in document.interfaces if states is not None else ():
        state, address = (states or {}).get(policy.name), policy.address or policy.address6
        if state is None:
            checks.warn(
                "interfaces",
                f"{policy.name}: it is in the policy, but this router has no such interface",
                "ip -br link",
            )
        elif str(address) not in state.addresses:
            has = ", ".join(sorted(state.addresses)) or f"no IPv{address.version} address"
            checks.warn(
                "interfaces", f"{policy.name}: the policy says {address}, but the interface has {has}", "ip -br address"
            )
        elif not state.running:
            checks.warn("interfaces", f"{policy.name}: down, or without a carrier", f"ip link show {policy.name}")
        else:
            checks.ok("interfaces", f"{policy.name}: {address}, up")


def _kernel(checks: Checks, suite: Suite) -> None:
    def look() -> int:
        with Xfrm() as xfrm:
            return len(xfrm.dump_policies())

    if checks.tried("kernel", look, lambda count: f"XFRM answers: {count} policies") is None:
        return
    refused = tried_apart(suite)
    if refused is None:
        checks.ok("kernel", f"ESP for IPv4 and IPv6 with {suite.value}, and nftables")
    elif refused:
        checks.wrong("kernel", refused, MODULES)
    else:
        checks.warn("kernel", "ESP was not tried: that needs a network namespace", "run it as root")
    if not Path("/proc/net/xfrm_stat").exists():
        checks.warn("kernel", "no /proc/net/xfrm_stat: the kernel counts no drops", "CONFIG_XFRM_STATISTICS=y")


def tried_apart(suite: Suite) -> str | None:
    """The SA that the kernel refuses, tried in a process and namespace of their own. None: it accepts all; "": no
    namespace is possible."""
    reading, writing = os.pipe()
    try:
        child = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        return ""
    if child == 0:
        os.close(reading)
        code = 1
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) == 0:
                os.write(writing, (_refused(suite) or "").encode()[:4096])
                code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        said = answer.read().decode(errors="replace")
    _pid, status = os.waitpid(child, 0)
    return "" if status else said or None


def _refused(suite: Suite) -> str | None:
    encryption, integrity, aead = algorithms(suite, bytes(suite.keymat_bytes))
    with Xfrm() as xfrm:
        for number, (source, destination) in enumerate(_PLACES):
            association = SecurityAssociation(
                source, destination, _SPI + number, IpsecProtocol.ESP,
                encryption=encryption, integrity=integrity, aead=aead,
            )  # fmt: skip
            try:
                xfrm.add_sa(association)
            except OSError as error:
                return f"no ESP for IPv{destination.version} with {suite.value}: {error.strerror or error}"
    try:
        NftGuard().apply((Guard("lo", socket.AF_INET, _OSPF),))
    except (OSError, GuardError) as error:
        return f"cleartext cannot be dropped at an interface: {error}"
    return None
