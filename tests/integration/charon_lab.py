"""strongSwan's charon in a network namespace of its own, and our endpoint on real UDP sockets beside it.

    us (root namespace, 10.77.0.1, veth "ike-us")  ---  charon (namespace "charon", 10.77.0.2, veth "ike-sw")

Ports 500 and 4500. For the interoperability tests only; must run as root in the guest.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from agents.ikev2 import (
    ChildSa,
    Datagram,
    Event,
    Identification,
    IkeConfig,
    IkeEndpoint,
    LocalIdentity,
    PeerAddress,
    PeerKey,
    Send,
)
from agents.ikev2.child import ChildPolicy
from agents.ikev2.registry import Encr, TransformType

US, CHARON = "10.77.0.1", "10.77.0.2"
OUR_ID, CHARON_ID = Identification.fqdn("us.example"), Identification.fqdn("charon.example")
NAMESPACE = "charon"
CHARON_PROGRAM = "/usr/lib/ipsec/charon"
PLUGIN_FOLDER = Path("/usr/lib/ipsec/plugins")
ML_PLUGIN = Path(__file__).with_name("libstrongswan-ml.so")
"""strongSwan's ML-KEM. Debian builds none; where one lies here, charon has it (docs/ikev2.md, Tests)."""
_MARKER = bytes(4)
E = TypeVar("E", bound=Event)

PLUGINS = (
    "random nonce aes sha1 sha2 hmac kdf gcm chapoly curve25519 openssl pem pkcs1 pkcs8 pubkey x509 "
    "kernel-netlink socket-default vici"
)
PRELUDE = """
charon {
  load = %(plugins)s
  install_routes = no
  %(options)s
  plugins { vici { socket = unix://%(folder)s/vici } }
  filelog { log { path = %(folder)s/charon.log
                  flush_line = yes
                  default = 1
                  ike = 2
                  enc = 1
                  net = 1 } }
}
"""

CONNECTION = """
connections { us {
  version = 2
  local_addrs = %(charon)s
  remote_addrs = %(us)s
  mobike = no
  childless = allow
  %(options)s
  proposals = %(ike)s
  local { auth = pubkey
          id = charon.example
          pubkeys = charon.pem }
  remote { auth = pubkey
           id = us.example
           pubkeys = us.pem }
  children { ping { mode = transport
                    local_ts = dynamic
                    remote_ts = dynamic
                    esp_proposals = %(esp)s
                    start_action = none } }
} }
"""


_PATIENCE_S = 600
"""Of the guest's clock, which stands still for what computes: a command that waits for ever fails the test."""


def run(*command: str) -> str:
    """A command's output; fails the test with what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE_S)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


class Charon:
    """One charon process with one connection, "us", and its log."""

    def __init__(
        self, our_key: Any, charon_key: Any, *, daemon: str = "", connection: str = "",
        ike: str = "aes256gcm16-prfsha256-x25519", esp: str = "aes128gcm16",
    ) -> None:  # fmt: skip
        self.folder = Path(tempfile.mkdtemp(prefix="charon."))
        self._network()
        self._files(our_key, charon_key, daemon, connection, ike, esp)
        self._environment = os.environ | {
            "STRONGSWAN_CONF": str(self.folder / "strongswan.conf"),
            "SWANCTL_DIR": str(self.folder / "swanctl"),
        }
        # A file, not a pipe: the daemon would hold a pipe open.
        with (self.folder / "output").open("w") as output:
            self._process = subprocess.Popen(
                ["ip", "netns", "exec", NAMESPACE, *self._program()],
                env=self._environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        self._wait_for_socket()
        self.swanctl("--load-all")

    def _program(self) -> list[str]:
        """charon, with the further plugin where there is one: the namespace has mounts of its own."""
        if not ML_PLUGIN.exists():
            return [CHARON_PROGRAM]
        plugins = shutil.copytree(PLUGIN_FOLDER, self.folder / "plugins")
        shutil.copy(ML_PLUGIN, plugins)
        return ["sh", "-c", f"mount --bind {plugins} {PLUGIN_FOLDER} && exec {CHARON_PROGRAM}"]

    def _network(self) -> None:
        run("ip", "netns", "add", NAMESPACE)
        run("ip", "link", "add", "ike-us", "type", "veth", "peer", "name", "ike-sw", "netns", NAMESPACE)
        run("ip", "address", "add", f"{US}/24", "dev", "ike-us")
        run("ip", "link", "set", "ike-us", "up")
        run("ip", "-n", NAMESPACE, "address", "add", f"{CHARON}/24", "dev", "ike-sw")
        run("ip", "-n", NAMESPACE, "link", "set", "ike-sw", "up")
        run("ip", "-n", NAMESPACE, "link", "set", "lo", "up")

    def _files(self, our_key: Any, charon_key: Any, daemon: str, connection: str, ike: str, esp: str) -> None:
        swanctl = self.folder / "swanctl"
        for name in ("private", "pubkey"):
            (swanctl / name).mkdir(parents=True)
        private = charon_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (swanctl / "private" / "charon.pem").write_bytes(private)
        for name, key in (("charon", charon_key), ("us", our_key)):
            public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            (swanctl / "pubkey" / f"{name}.pem").write_bytes(public)
        values = {"charon": CHARON, "us": US, "options": connection, "ike": ike, "esp": esp}
        (swanctl / "swanctl.conf").write_text(CONNECTION % values)
        plugins = f"{PLUGINS} ml" if ML_PLUGIN.exists() else PLUGINS
        (self.folder / "strongswan.conf").write_text(
            PRELUDE % {"folder": self.folder, "options": daemon, "plugins": plugins}
        )

    def _wait_for_socket(self) -> None:
        for _ in range(400):
            if (self.folder / "vici").exists():
                return
            assert self._process.poll() is None, (self.folder / "output").read_text()
            select.select([], [], [], 0.05)
        raise AssertionError("charon did not start: " + self.log())

    def command(self, *arguments: str) -> list[str]:
        return ["ip", "netns", "exec", NAMESPACE, "swanctl", *arguments, "--uri", f"unix://{self.folder}/vici"]

    def swanctl(self, *arguments: str) -> str:
        """A swanctl command that needs no answer of ours."""
        done = subprocess.run(
            self.command(*arguments), env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr + self.log()
        return done.stdout

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A swanctl command during which we must answer charon."""
        with (self.folder / "swanctl.out").open("w") as output:
            return subprocess.Popen(
                self.command(*arguments), env=self._environment, stdout=output, stderr=output,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def sas(self) -> str:
        return self.swanctl("--list-sas")

    def log(self) -> str:
        path = self.folder / "charon.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        run("ip", "netns", "delete", NAMESPACE)
        subprocess.run(["ip", "link", "delete", "ike-us"], capture_output=True, check=False)
        subprocess.run(["ip", "xfrm", "state", "flush"], check=False)
        subprocess.run(["ip", "xfrm", "policy", "flush"], check=False)
        shutil.rmtree(self.folder)


class Us:
    """Our endpoint on ports 500 and 4500, driven by select()."""

    def __init__(
        self, key: Any, charon_key: Any, config: IkeConfig | None = None, child_policy: ChildPolicy | None = None
    ) -> None:
        peer = PeerKey(charon_key.public_key())
        self.endpoint = IkeEndpoint(
            LocalIdentity(OUR_ID, key),
            lambda ident, credential, address: peer if ident == CHARON_ID else None,
            random=os.urandom,
            config=config,
            child_policy=child_policy,
        )
        self.events: list[Event] = []
        self.sent: list[bytes] = []
        self.received: list[bytes] = []
        self._sockets: dict[int, socket.socket] = {}
        for port in (500, 4500):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind((US, port))
            sock.setblocking(False)
            self._sockets[port] = sock

    @property
    def peer(self) -> PeerAddress:
        return PeerAddress(CHARON, 500, US, "ike-us", 500)

    def do(self, method: str, *arguments: Any, **options: Any) -> Any:
        result = getattr(self.endpoint, method)(*arguments, time.monotonic(), **options)
        self._flush()
        return result

    def all(self, kind: type[E]) -> list[E]:
        return [item for item in self.events if isinstance(item, kind)]

    def last(self, kind: type[E]) -> E:
        found = self.all(kind)
        assert found, f"no {kind.__name__} among {self.events}"
        return found[-1]

    def _flush(self) -> None:
        for effect in self.endpoint.take():
            if isinstance(effect, Send):
                self.sent.append(effect.data)
                port = effect.peer.local_port or 500
                data = _MARKER + effect.data if port == 4500 else effect.data
                self._sockets[port].sendto(data, (effect.peer.ip, effect.peer.port))
            else:
                self.events.append(effect)

    def serve(self, until: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Answer and retransmit until something holds; fails after `timeout_s`."""
        end = time.monotonic() + timeout_s
        while not until():
            now = time.monotonic()
            assert now < end, f"waited {timeout_s} s in vain; events: {self.events[-10:]}"
            timer = self.endpoint.next_timer()
            wait = min(end - now, 0.1, max(0.0, timer - now) if timer is not None else 1.0)
            ready, _, _ = select.select(list(self._sockets.values()), [], [], wait)
            for port, sock in self._sockets.items():
                if sock in ready:
                    self._read(port, sock)
            self.endpoint.tick(time.monotonic())
            self._flush()

    def _read(self, port: int, sock: socket.socket) -> None:
        data, (ip, source) = sock.recvfrom(65535)
        if port == 4500:
            if data[:4] != _MARKER:
                return
            data = data[4:]
        self.received.append(data)
        self.endpoint.receive(Datagram(data, PeerAddress(ip, source, US, "ike-us", port)), time.monotonic())
        self._flush()

    def serve_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.serve(lambda: time.monotonic() >= end, seconds + 5)

    def serve_command(self, command: subprocess.Popen[bytes], timeout_s: float = 60.0) -> None:
        """Answer while a swanctl command runs; it must succeed."""
        self.serve(lambda: command.poll() is not None, timeout_s)
        assert command.returncode == 0

    def stop(self) -> None:
        for sock in self._sockets.values():
            sock.close()


class Capture:
    """tcpdump on our side of the link, and tshark to read what it caught."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._process = subprocess.Popen(
            ["tcpdump", "-i", "ike-us", "-U", "--immediate-mode", "-Z", "root", "-w", str(file), "udp"],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        assert b"listening" in line, line

    def stop(self) -> None:
        """A signal that comes right before tcpdump waits for packets is heard with the next one alone."""
        while self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)

    def read(self, key_lines: list[str]) -> str:
        """tshark's long form of all packets, decrypted with these lines of an ikev2_decryption_table."""
        options = [part for line in key_lines for part in ("-o", f"uat:ikev2_decryption_table:{line}")]
        return run("tshark", "-r", str(self._file), "-V", "-O", "isakmp", *options)


def esp_states(child: ChildSa) -> list[list[str]]:
    """`ip xfrm` commands that install one Child SA of AES-GCM in transport mode, with its policies."""
    assert child.transport and child.transform_id(TransformType.ENCR) == Encr.AES_GCM_16
    commands = []
    for source, target, spi, keys in (
        (CHARON, US, child.spi_in, child.keys_in),
        (US, CHARON, child.spi_out, child.keys_out),
    ):
        commands.append(
            ["ip", "xfrm", "state", "add", "src", source, "dst", target, "proto", "esp", "spi", f"0x{spi.hex()}",
             "reqid", "7", "mode", "transport", "replay-window", "32",
             "aead", "rfc4106(gcm(aes))", f"0x{keys.encryption.hex()}", "128"]
        )  # fmt: skip
    return commands


def install(child: ChildSa, *, policies: bool = True) -> None:
    for command in esp_states(child):
        run(*command)
    if policies:
        for direction, source, target in (("out", US, CHARON), ("in", CHARON, US)):
            run("ip", "xfrm", "policy", "add", "src", source, "dst", target, "proto", "icmp", "dir", direction,
                "tmpl", "proto", "esp", "reqid", "7", "mode", "transport")  # fmt: skip


def ping(count: int = 3) -> None:
    """Ping charon's address; every one must come back."""
    output = run("ping", "-c", str(count), "-i", "0.2", "-W", "2", CHARON)
    assert f" {count} received" in output, output


def esp_packets(spi: bytes, source: str, target: str) -> int:
    """How many packets the kernel has put through one SA."""
    output = run(
        "ip", "-s", "xfrm", "state", "get", "src", source, "dst", target, "proto", "esp", "spi", f"0x{spi.hex()}"
    )
    current = output.split("lifetime current:")[1]
    return int(current.split("(packets)")[0].split(",")[-1].strip().split("(")[0])


def new_key(kind: str = "ed25519") -> Any:
    return {
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    }[kind]()
