"""The Policy Server's store: a draft of the domain, and every committed version, with author and reason.

SQLite; nothing that was committed is changed or deleted. Committing validates, compiles and signs in one transaction.
Knows nothing of the command line.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import ValidationError

from agents.policy import renewal
from agents.policy.carriage import check_carried
from agents.policy.compile import compile_documents
from agents.policy.delegation import Delegation, join, sign_delegation, split, verify_delegation
from agents.policy.document import PolicyDocument, sign_document, verify_document
from agents.policy.domain import Domain
from agents.policy.errors import MissingStore, PolicyError, UnusableStore
from agents.policy.keys import public_pem, read_private_key, read_public_key, spki, write_private_key, write_public
from agents.policy.revocation import (
    RevocationList,
    RevokedRouter,
    key_hash,
    make_list,
    shortened,
    sign_list,
    verify_list,
)
from agents.runtime import invalid
from agents.runtime.database import connect
from agents.runtime.storage import later_format, make_folder, transaction

SCHEMA_VERSION = 4
"""4: domains have groups of routers, and routers settings of their own; an earlier release knows neither."""
MAX_REASON = 1000

_SCHEMA = """
CREATE TABLE versions (
    version INTEGER PRIMARY KEY, at INTEGER NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL,
    digest TEXT NOT NULL, domain TEXT NOT NULL
) STRICT;
CREATE TABLE documents (
    version INTEGER NOT NULL REFERENCES versions(version), router TEXT NOT NULL, signed BLOB NOT NULL,
    PRIMARY KEY (version, router)
) STRICT;
CREATE TABLE draft (only_one INTEGER PRIMARY KEY CHECK (only_one = 1), based_on INTEGER NOT NULL, domain TEXT NOT NULL)
    STRICT;
CREATE TRIGGER versions_stay BEFORE UPDATE ON versions BEGIN SELECT RAISE(ABORT, 'history does not change'); END;
CREATE TRIGGER versions_last BEFORE DELETE ON versions BEGIN SELECT RAISE(ABORT, 'history does not change'); END;
CREATE TRIGGER documents_stay BEFORE UPDATE ON documents BEGIN SELECT RAISE(ABORT, 'history does not change'); END;
CREATE TRIGGER documents_last BEFORE DELETE ON documents BEGIN SELECT RAISE(ABORT, 'history does not change'); END;
"""

_REVOCATIONS = """
CREATE TABLE revocations (
    version INTEGER PRIMARY KEY, committed_in INTEGER NOT NULL REFERENCES versions(version), signed BLOB NOT NULL
) STRICT;
CREATE TRIGGER revocations_stay BEFORE UPDATE ON revocations BEGIN SELECT RAISE(ABORT, 'history does not change'); END;
CREATE TRIGGER revocations_last BEFORE DELETE ON revocations BEGIN SELECT RAISE(ABORT, 'history does not change'); END;
"""
"""The additions of version 2 of the store to version 1."""

_FORGOTTEN = """
CREATE TABLE forgotten (key BLOB PRIMARY KEY, name TEXT NOT NULL, committed_in INTEGER NOT NULL) STRICT;
CREATE TRIGGER forgotten_stay BEFORE UPDATE ON forgotten BEGIN SELECT RAISE(ABORT, 'history does not change'); END;
CREATE TRIGGER forgotten_last BEFORE DELETE ON forgotten BEGIN SELECT RAISE(ABORT, 'history does not change'); END;
"""
"""The additions of version 3: revoked keys that are on no list any more, since every document that named them has
expired. They stay revoked."""


class VersionConflict(PolicyError):
    """The store was committed or edited by another user meanwhile; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One version of the domain. `at`: Unix seconds."""

    version: int
    at: int
    who: str
    why: str
    digest: str


@dataclass(frozen=True, slots=True)
class Signer:
    """An administrator: private key, and the root key's delegation."""

    key: Ed25519PrivateKey
    delegation: bytes

    def check(self, root: Ed25519PublicKey, domain: Domain, at: int) -> Delegation:
        """The delegation. PolicyError unless this is one of the domain's administrators at Unix time `at`, with its own
        key."""
        delegation, public = verify_delegation(self.delegation, root, domain=domain.name, wall_s=at)
        known = {each.key for each in domain.administrators}
        if delegation.key not in known:
            raise PolicyError(f"{delegation.name} is no longer an administrator of this domain")
        if public != self.key.public_key():
            raise PolicyError(f"the delegation is for a different key than this one of {delegation.name}")
        return delegation


@dataclass(frozen=True, slots=True)
class Renewed:
    """The result of a renewal. `commit`: None when nothing was due; `routers`: the routers with new documents;
    `next_at`: Unix seconds at which the next one is due, if none was; `warning`: that the signer's delegation ends
    soon."""

    commit: Commit | None
    routers: frozenset[str]
    next_at: float
    warning: str | None


_RESTORE = "restore the whole folder from a backup (docs/operations.md), then policy check"


class PolicyStore:
    """A folder with policy.db, key.pem (the Policy Server's private key, 0600) and key.pub."""

    def __init__(self, folder: Path) -> None:
        """Open a store that `create` made. PolicyError when there is none."""
        self.folder = folder
        path = folder / "policy.db"
        if not path.is_file():
            raise MissingStore(f"{folder} holds no policy store\n  next:    policy --store {folder} init DOMAIN …")
        try:
            self._db = connect(path, timeout_s=10)
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            (format_,) = self._db.execute("PRAGMA user_version").fetchone()
        except sqlite3.OperationalError as error:  # busy, or no permission: the file itself may be intact
            raise UnusableStore(f"the policy store cannot be opened: {error}\n  next:    namei -l {path}") from error
        except sqlite3.DatabaseError as error:
            raise UnusableStore(f"the policy store is damaged: {error}\n  next:    {_RESTORE}") from error
        if format_ in (1, 2, 3):
            steps = f"{_REVOCATIONS if format_ == 1 else ''} {_FORGOTTEN if format_ < 3 else ''}"
            self._db.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        elif format_ == 0:
            raise UnusableStore(f"the policy store is empty: {path}\n  next:    {_RESTORE}")
        elif format_ != SCHEMA_VERSION:
            raise UnusableStore(later_format(f"{path}: a store", format_, SCHEMA_VERSION))

    @classmethod
    def create(cls, folder: Path, domain: Domain, key: Ed25519PrivateKey | None = None) -> PolicyStore:
        """A new store with this domain as the draft. PolicyError when the folder already holds one."""
        path = folder / "policy.db"
        if path.exists():
            raise PolicyError(f"{folder} already holds a policy store")
        text = domain.model_dump_json()
        make_folder(folder, 0o700)
        with _alone(folder):
            cls._fill(folder, path, text, key)
        return cls(folder)

    @staticmethod
    def _fill(folder: Path, path: Path, text: str, key: Ed25519PrivateKey | None) -> None:
        if path.exists():  # meanwhile
            raise PolicyError(f"{folder} already holds a policy store")
        # Under another name until it is complete: an interrupted start leaves no half store.
        fresh = folder / ".policy.db.new"
        fresh.unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(fresh)) as db, db:
            db.executescript(_SCHEMA + _REVOCATIONS + _FORGOTTEN)
            db.execute("INSERT INTO draft VALUES (1, 0, ?)", (text,))
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        key = key or Ed25519PrivateKey.generate()
        try:
            write_private_key(folder / "key.pem", key)
        except FileExistsError as error:
            raise PolicyError(f"{folder / 'key.pem'} already exists: move it away, or use another folder") from error
        write_public(folder / "key.pub", public_pem(key))
        fresh.replace(path)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    # -- reading

    @property
    def public_key(self) -> Ed25519PublicKey:
        """The key that verifies documents."""
        return read_public_key(self.folder / "key.pub")

    def _root_key(self) -> Ed25519PrivateKey:
        """The key that routers pin. PolicyError when it is not here, or another key is in its place."""
        path = self.folder / "key.pem"
        key = read_private_key(path)
        if key.public_key() != self.public_key:
            raise PolicyError(f"{path}: not the key of key.pub; routers would reject everything that it signs")
        return key

    @property
    def version(self) -> int:
        """The last committed version; 0 when there is none."""
        (version,) = self._db.execute("SELECT coalesce(max(version), 0) FROM versions").fetchone()
        return int(version)

    def draft(self) -> Domain:
        """The domain as it is being edited."""
        (text,) = self._db.execute("SELECT domain FROM draft").fetchone()
        return _domain(text)

    def domain(self, version: int) -> Domain:
        """The domain as of a committed version. PolicyError when there is none."""
        row = self._db.execute("SELECT domain, digest FROM versions WHERE version = ?", (version,)).fetchone()
        if row is None:
            raise PolicyError(f"there is no version {version}; the last is {self.version}")
        if _digest(row[0]) != row[1]:
            raise PolicyError(f"version {version} differs from what was committed")
        return _domain(row[0])

    def history(self) -> list[Commit]:
        """All versions, the newest first."""
        rows = self._db.execute("SELECT version, at, who, why, digest FROM versions ORDER BY version DESC")
        return [Commit(*row) for row in rows]

    def documents(self, version: int | None = None) -> dict[str, bytes]:
        """The signed documents of a version, the last by default, by router."""
        wanted = self.version if version is None else version
        if wanted:
            self.domain(wanted)
        rows = self._db.execute("SELECT router, signed FROM documents WHERE version = ? ORDER BY router", (wanted,))
        return {router: bytes(signed) for router, signed in rows}

    def revocation(self) -> bytes | None:
        """The newest signed revocation list; None while no key was ever revoked."""
        row = self._db.execute("SELECT signed FROM revocations ORDER BY version DESC LIMIT 1").fetchone()
        return None if row is None else bytes(row[0])

    def revocations(self) -> list[RevocationList]:
        """Every list ever signed, the newest first. PolicyError for one that does not verify."""
        rows = self._db.execute("SELECT signed FROM revocations ORDER BY version DESC")
        name = self.draft().name
        return [verify_list(bytes(signed), self.public_key, domain=name) for (signed,) in rows]

    def _still_good(self, signed: dict[str, bytes], domain: Domain) -> dict[str, renewal.Signed]:
        """The valid documents under this domain: without those of administrators whom it revokes."""
        root = self.public_key
        revoked = {each.key for each in domain.revoked_administrators}
        valid = {}
        for name, octets in signed.items():
            delegation, _document = split(octets)
            until = math.inf
            if delegation is not None:
                administrator, _key = verify_delegation(delegation, root, domain=domain.name)
                if key_hash(administrator.key) in revoked:
                    continue
                until = administrator.expires_at
            document = verify_document(octets, root, domain=domain.name, router=name)
            valid[name] = renewal.Signed(document, until)
        return valid

    @staticmethod
    def _signed(document: PolicyDocument, key: Ed25519PrivateKey | None, signer: Signer | None) -> bytes:
        if signer is not None:
            signed = join(signer.delegation, sign_document(document, signer.key))
        else:
            assert key is not None
            signed = sign_document(document, key)
        check_carried(document, signed)
        return signed

    def delegate(self, name: str, at: int, lifetime_s: int) -> bytes:
        """A delegation by the root key: this administrator, of the last version, may sign documents for this time.
        PolicyError when there is no such administrator."""
        domain = self.domain(self.version) if self.version else self.draft()
        entry = next((each for each in domain.administrators if each.name == name), None)
        if entry is None:
            raise PolicyError(f"there is no administrator {name!r} in the last version: policy admin add, then commit")
        delegation = Delegation(domain=domain.name, name=name, key=entry.key, issued_at=at, expires_at=at + lifetime_s)
        return sign_delegation(delegation, self._root_key())

    def _dated(self, domain: Domain, last: int, at: int) -> tuple[Domain, int]:
        """The domain with the time up to which documents name each revoked key, and without the entries that do not fit
        a list; and the expiry up to which those were named. PolicyError."""
        known = self.domain(last).documents_until if last else 0
        if last and not known:  # of a store that did not keep it
            validity = "json_extract(domain, '$.settings.validity_s')"
            (known,) = self._db.execute(f"SELECT max(at + {validity}) FROM versions").fetchone()
        dated = tuple(
            each if getattr(each, "until", 0) else RevokedRouter(name=each.name, key=each.key, until=max(1, known))
            for each in domain.revoked_routers
        )
        kept, expired_before = shortened(dated, domain.revoked_administrators, at)
        until = max(known, at + domain.longest_validity_s)
        names = {each.key for each in kept}
        rows = [(each.key, each.name, last + 1) for each in dated if each.key not in names]
        self._db.executemany("INSERT OR IGNORE INTO forgotten VALUES (?, ?, ?)", rows)
        return domain.model_copy(update={"revoked_routers": kept, "documents_until": until}), expired_before

    def _refuse_forgotten(self, domain: Domain) -> None:
        """PolicyError when a router has a key that was revoked so long ago that no list has it."""
        if self._db.execute("SELECT 1 FROM forgotten LIMIT 1").fetchone() is None:
            return
        for router in domain.routers.values():
            if self._db.execute("SELECT 1 FROM forgotten WHERE key = ?", (key_hash(router.key),)).fetchone():
                raise PolicyError(f"{router.name} has a revoked key: remove it, and add it again with a new one")

    def _revoke(
        self,
        domain: Domain,
        committed_in: int,
        at: int,
        root: Ed25519PublicKey,
        key: Ed25519PrivateKey | None,
        expired_before: int,
    ) -> None:
        """Sign a new list when this domain revokes other keys than the newest list does. Without the root key, the old
        keys of replaced routers wait for its next commit; PolicyError for any other."""
        last = self._last_list(domain, root)
        version = 1 if last is None else last.version + 1
        expired_before = max(expired_before, 0 if last is None else last.expired_before)
        fresh = make_list(
            domain.name, version, at, domain.revoked_routers, domain.revoked_administrators, expired_before
        )
        before = ((), ()) if last is None else (last.routers, last.administrators)
        if (fresh.routers, fresh.administrators) == before:
            return
        if key is not None:
            row = (version, committed_in, sign_list(fresh, key))
            self._db.execute("INSERT INTO revocations VALUES (?, ?, ?)", row)
        elif fresh.administrators != before[1] or any(
            each.name not in domain.routers for each in fresh.routers if each not in before[0]
        ):
            raise PolicyError("only the root key revokes keys: commit this without --administrator")

    def _last_list(self, domain: Domain, root: Ed25519PublicKey) -> RevocationList | None:
        signed = self.revocation()
        return None if signed is None else verify_list(signed, root, domain=domain.name)

    def unlisted(self, domain: Domain | None = None) -> list[str]:
        """The routers that were replaced under a delegated key and whose old keys are on no list yet, as of this domain
        (the last version's)."""
        if domain is None:
            if not self.version:
                return []
            domain = self.domain(self.version)
        last = self._last_list(domain, self.public_key)
        listed = set() if last is None else {each.key for each in last.routers}
        return sorted(each.name for each in domain.revoked_routers if each.key not in listed)

    def unlisted_warnings(self) -> list[str]:
        """The same as sentences, with the remedy."""
        return [
            f"the old key of {name} is on no revocation list yet: commit with the root key, which signs one"
            for name in self.unlisted()
        ]

    # -- writing

    def edit(self, domain: Domain, before: Domain | None = None) -> None:
        """Make this domain the draft. `before`: the draft that it was made from; VersionConflict when it is another."""
        with transaction(self._db):
            if before is not None and before != self.draft():
                raise VersionConflict("the draft was changed by another user meanwhile: look at it first (policy diff)")
            self._put_draft(domain)

    def _put_draft(self, domain: Domain) -> None:
        self._db.execute("UPDATE draft SET domain = ?", (domain.model_dump_json(),))

    def commit(
        self,
        who: str,
        why: str,
        at: int,
        *,
        expected: int | None = None,
        domain: Domain | None = None,
        draft: str | None = None,
        signer: Signer | None = None,
    ) -> tuple[Commit, frozenset[str]]:
        """Validate the draft, sign its documents and keep both as the next version; and whose document is new.

        `signer`: an administrator who signs them instead of the root key, which then need not be here. Documents of an
        administrator whose key is revoked are signed anew.

        `expected`: the version that the last one must be, so that nobody's commit in between goes unseen. `domain`:
        commit this instead of the draft, which must then hold no changes of its own. `draft`: the SHA-256 (hex) of the
        draft's JSON as it was looked at. PolicyError when the domain is
        not consistent, changes nothing, or no reason is given; VersionConflict.
        """
        if not who.strip() or not why.strip() or len(why) > MAX_REASON or len(who) > MAX_REASON:
            raise PolicyError("a commit needs an author and a reason, in up to 1000 characters each")
        root = self.public_key
        key = self._root_key() if signer is None else None
        with transaction(self._db):
            last = self.version
            if expected is not None and expected != last:
                raise VersionConflict(f"the last version is {last}, not {expected}: look at it first (policy diff)")
            present = self.draft()
            if draft is not None and _digest(present.model_dump_json()) != draft:
                raise VersionConflict("the draft was changed by another user meanwhile: look at it first (policy diff)")
            if domain is not None:
                if last and self.domain(last) != present:
                    raise VersionConflict("the draft has uncommitted changes: policy diff, then commit")
                self._put_draft(domain)
            domain = domain or present
            if last and self.domain(last) == domain and not (key is not None and self.unlisted(domain)):
                raise PolicyError(
                    f"the draft is the same as version {last}\n  next:    to sign documents again before they expire: "
                    "policy renew"
                )
            self._refuse_forgotten(domain)
            if roots := [each.name for each in domain.routers.values() if each.key == spki(root)]:
                raise PolicyError(f"{', '.join(roots)}: this is the Policy Server's own key, not a router's")
            done, fresh, domain = self._keep(domain, Commit(last + 1, at, who, why, ""), key, signer)
            self._put_draft(domain)
            self._db.execute("UPDATE draft SET based_on = ?", (last + 1,))
        return done, fresh

    def _keep(
        self,
        domain: Domain,
        commit: Commit,
        key: Ed25519PrivateKey | None,
        signer: Signer | None,
        due: Collection[str] = (),
    ) -> tuple[Commit, frozenset[str], Domain]:
        """Sign the documents that changed, or are `due`, and keep domain and documents as this version; the domain as
        it was kept. PolicyError."""
        root, at, version = self.public_key, commit.at, commit.version
        self._refuse_past(at)
        domain, expired_before = self._dated(domain, version - 1, at)
        text = domain.model_dump_json()
        signed_before = self.documents() if version > 1 else {}
        # A document that a list has outlived is signed anew, so that its router is not left alone with it.
        before = {
            name: each.document
            for name, each in self._still_good(signed_before, domain).items()
            if each.document.expires_at > expired_before and name not in due
        }
        if signer is not None:
            signer.check(root, domain, at)
        documents = compile_documents(domain, version, at, before)
        digest = _digest(text)
        row = (version, at, commit.who, commit.why, digest, text)
        self._db.execute("INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?)", row)
        fresh = frozenset(name for name, each in documents.items() if each is not before.get(name))
        for name, document in documents.items():
            signed = self._signed(document, key, signer) if name in fresh else signed_before[name]
            self._db.execute("INSERT INTO documents VALUES (?, ?, ?)", (version, name, signed))
        self._revoke(domain, version, at, root, key, expired_before)
        return replace(commit, digest=digest), fresh, domain

    def renew(self, who: str, at: int, signer: Signer | None = None) -> Renewed:
        """Sign those documents of the last version anew whose time it is (agents.policy.renewal), as a version of its
        own. Nothing else changes, and the draft stays as it is. PolicyError when nothing was committed yet."""
        key = self._root_key() if signer is None else None
        with transaction(self._db):
            last = self.version
            if not last:
                raise PolicyError("nothing has been committed yet\n  next:    policy commit -m REASON")
            self._refuse_past(at)
            domain = self.domain(last)
            delegation = None if signer is None else signer.check(self.public_key, domain, at)
            until = math.inf if delegation is None else delegation.expires_at
            warning = None if delegation is None else renewal.warning(delegation.name, until, at)
            documents = self._still_good(self.documents(), domain)
            due = renewal.due(documents, until, at)
            if not due:
                next_at = min((renewal.due_at(each, until) for each in documents.values()), default=math.inf)
                return Renewed(None, frozenset(), next_at, warning)
            clean = self.draft() == domain
            why = "documents signed again before they expire"
            done, fresh, kept = self._keep(domain, Commit(last + 1, at, who, why, ""), key, signer, due)
            if clean:
                self._put_draft(kept)
        return Renewed(done, fresh, at, warning)

    def _refuse_past(self, at: int) -> None:
        """PolicyError when the clock stands before the last commit: what is signed now would have expired, or soon."""
        (last,) = self._db.execute("SELECT coalesce(max(at), 0) FROM versions").fetchone()
        if at < last:
            raise PolicyError(
                f"this machine's clock says {at} s, but the last version was committed at {last} s (Unix time)\n  "
                "next:    timedatectl; set the clock, then commit"
            )

    def rollback(self, version: int) -> Domain:
        """Make the draft what a committed version was; to commit it is a step of its own.

        SPI blocks given out since then stay given out, and who may sign, and whose key is revoked, stays as it is.
        """
        with transaction(self._db):
            domain = self.domain(version)
            newest = self.domain(self.version)
            kept = {
                "next_spi": max(domain.next_spi, self.draft().next_spi),
                "revoked_routers": newest.revoked_routers,
                "documents_until": newest.documents_until,
                "administrators": newest.administrators,
                "revoked_administrators": newest.revoked_administrators,
            }
            domain = domain.model_copy(update=kept)
            self._put_draft(domain)
        return domain

    @staticmethod
    def _verified(signed: dict[str, bytes], domain: str, key: Ed25519PublicKey) -> dict[str, PolicyDocument]:
        return {name: verify_document(octets, key, domain=domain, router=name) for name, octets in signed.items()}

    def verify(self) -> list[str]:
        """Check every version and document against digest and key; what is wrong, a sentence each."""
        problems: list[str] = []
        for commit in self.history():
            try:
                domain = self.domain(commit.version)
                documents = self._verified(self.documents(commit.version), domain.name, self.public_key)
            except PolicyError as error:
                problems.append(f"version {commit.version}: {error}")
                continue
            approved = {name for name, router in domain.routers.items() if router.approved}
            if set(documents) != approved:
                problems.append(f"version {commit.version}: its documents do not match the approved routers")
        try:
            self.revocations()
        except PolicyError as error:
            problems.append(str(error))
        return problems


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else makes a store in this folder meanwhile. The lock is the folder's own, and ends with the process."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _domain(text: str) -> Domain:
    try:
        return Domain.model_validate_json(text)
    except ValidationError as error:
        raise PolicyError(f"the store holds no domain: {invalid.sentence(error.errors()[0])}") from error
