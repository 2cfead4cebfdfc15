"""Ed25519 keys as files and octets. Private keys are 0600 from the moment the file exists.

Knows nothing of a key's use.
"""

from __future__ import annotations

import os
import stat
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from agents.policy.errors import PolicyError
from agents.runtime.stderr import advised
from agents.runtime.storage import open_regular, read_all, write_atomic, write_new


def spki(key: Ed25519PrivateKey | Ed25519PublicKey) -> bytes:
    """The public key as DER SubjectPublicKeyInfo."""
    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@lru_cache(maxsize=1024)  # each thing that a party signs needs its key
def public_key_from_spki(der: bytes) -> Ed25519PublicKey:
    """From DER SubjectPublicKeyInfo; PolicyError unless it is an Ed25519 key in its one form."""
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PolicyError(f"not a usable public key: {error}") from error
    if not isinstance(key, Ed25519PublicKey) or spki(key) != der:
        raise PolicyError("not an Ed25519 public key")
    return key


def write_secret(path: Path, data: bytes) -> None:
    """A new file with mode 0600, synced with its folder. FileExistsError when there is one already."""
    write_new(path, data, 0o600)


def write_public(path: Path, data: bytes) -> None:
    """A file that all may read; replaces an older one as `write_atomic` does."""
    write_atomic(path, data, 0o644)


def write_private_key(path: Path, key: Ed25519PrivateKey) -> None:
    """PKCS #8 PEM in a new file of mode 0600."""
    write_secret(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def read_private_key(path: Path, user: int | None = None) -> Ed25519PrivateKey:
    """From a PEM file; PolicyError when others may read the file, or it holds no Ed25519 key (`user`: check_secret)."""
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            data = file.read(4096)
    except FileNotFoundError as error:
        raise PolicyError(
            f"{path}: {error.strerror}\n  next:    openssl genpkey -algorithm ED25519 -out {path}, or restore the old "
            "one"
        ) from error
    except OSError as error:
        raise PolicyError(advised(error)) from error
    check_secret(path, status, "a private key's file", user)
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PolicyError(f"{path}: not a private key\n  allowed: PEM of an Ed25519 private key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise PolicyError(f"{path}: not an Ed25519 private key")
    return key


def check_secret(path: Path, status: os.stat_result, what: str, user: int | None = None) -> None:
    """PolicyError unless a secret's file belongs to us, to root, or to the owner of its folder (root checks a service's
    files), and no other user may read it. `user`: its reader, if that is another user."""
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise PolicyError(f"{path}: {what} must have mode 0600, not {mode:04o}\n  next:    chmod 600 {path}")
    if user is not None and status.st_uid != user:
        raise PolicyError(
            f"{path}: {what} must belong to user {user}, under which the service runs; it belongs to user "
            f"{status.st_uid}\n  next:    chown {user} {path}"
        )
    if user is None and status.st_uid not in (0, os.geteuid(), path.parent.stat().st_uid):
        raise PolicyError(
            f"{path}: {what} must belong to user {os.geteuid()}, who runs this command; it belongs to user "
            f"{status.st_uid}\n  next:    chown {os.geteuid()} {path}"
        )


def public_pem(key: Ed25519PrivateKey | Ed25519PublicKey) -> bytes:
    """The public key as PEM."""
    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def read_public_key(path: Path, *, pipes: bool = False) -> Ed25519PublicKey:
    """From a PEM file, with `pipes` from any file; PolicyError when it holds no Ed25519 public key."""
    try:
        data = read_all(path, pipes=pipes)
    except OSError as error:
        raise PolicyError(advised(error)) from error
    return public_key_from_pem(data, str(path))


def public_key_from_pem(data: bytes, where: str = "the key") -> Ed25519PublicKey:
    """From PEM; PolicyError, which names `where`, when it is not an Ed25519 public key."""
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PolicyError(f"{where}: not a public key\n  allowed: PEM of an Ed25519 public key") from error
    if data.count(b"-----BEGIN") != 1:
        raise PolicyError(f"{where}: more than one key\n  allowed: PEM of one Ed25519 public key")
    if not isinstance(key, Ed25519PublicKey):
        raise PolicyError(f"{where}: another kind of key\n  allowed: PEM of an Ed25519 public key")
    return key
