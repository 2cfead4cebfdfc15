"""strongSwan's charon as a responder to compare with: one connection, raw Ed25519 keys, no Child SA (RFC 6023)."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agents.policy.keys import public_pem
from testbed.errors import EnvironmentFailure

PROGRAM = "/usr/lib/ipsec/charon"
START_S = 20.0
PLUGINS = (
    "random nonce aes sha1 sha2 hmac kdf gcm curve25519 openssl pem pkcs1 pkcs8 pubkey "
    "kernel-netlink socket-default vici"
)
# Whoever has many SAs with one identity would otherwise have the older ones deleted, which takes time.
SWANCTL = """
connections { us {
  version = 2
  local_addrs = %(address)s
  unique = never
  childless = force
  proposals = aes256gcm16-prfsha256-x25519
  local { auth = pubkey
          id = charon.example
          pubkeys = charon.pem }
  remote { auth = pubkey
           id = us.example
           pubkeys = us.pem }
} }
"""
DAEMON = """
charon {
  load = %(plugins)s
  install_routes = no
  dos_protection = no
  plugins { vici { socket = unix://%(folder)s/vici } }
  filelog { log { path = %(folder)s/charon.log
                  default = 0 } }
}
"""


class Charon:
    """A running charon that answers at `address`, ports 500 and 4500."""

    def __init__(self, folder: Path, address: str, own: Ed25519PrivateKey, peer: Ed25519PrivateKey) -> None:
        """EnvironmentFailure when it does not start."""
        self._folder = folder
        for name in ("private", "pubkey"):
            (folder / "swanctl" / name).mkdir(parents=True)
        private = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "swanctl" / "private" / "charon.pem").write_bytes(private)
        for name, key in (("charon", own), ("us", peer)):
            (folder / "swanctl" / "pubkey" / f"{name}.pem").write_bytes(public_pem(key.public_key()))
        (folder / "swanctl" / "swanctl.conf").write_text(SWANCTL % {"address": address})
        (folder / "strongswan.conf").write_text(DAEMON % {"plugins": PLUGINS, "folder": folder})
        self._environment = os.environ | {
            "STRONGSWAN_CONF": str(folder / "strongswan.conf"),
            "SWANCTL_DIR": str(folder / "swanctl"),
        }
        with (folder / "output").open("w") as output:
            self._process = subprocess.Popen(
                [PROGRAM], env=self._environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )
        end = time.monotonic() + START_S
        while not (folder / "vici").exists():
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise EnvironmentFailure(f"charon does not start: {(folder / 'output').read_text().strip()}")
            time.sleep(0.05)
        done = subprocess.run(
            ["swanctl", "--load-all", "--uri", f"unix://{folder}/vici"],
            env=self._environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            self.stop()
            raise EnvironmentFailure(f"charon does not accept its configuration: {done.stdout}{done.stderr}".strip())

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()
