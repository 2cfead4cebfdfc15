"""`dks confirmations`: the routers' confirmations, as text, as JSON, or as files for the Policy Server.

Asks the running DKS; knows nothing of how it got them.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.policy.confirmation import SUFFIX
from agents.policy.errors import PolicyError
from agents.policy.names import check_router
from agents.runtime.client import nobody
from agents.runtime.control import CommandRefused, ask
from agents.runtime.exits import EXIT_DONE, EXIT_REFUSED, EXIT_STATE, EXIT_USAGE
from agents.runtime.stderr import MISNAMED, tell
from agents.runtime.storage import make_folder, write_atomic


def show(socket: Path, *, as_json: bool, folder: Path | None) -> int:
    """Ask, print, and with `folder` write ROUTER.confirmation files. 0: done, 1: refused, 2: the folder cannot exist,
    3: no answer or no disk."""
    try:
        answer = ask(socket, "confirmations")
    except (OSError, ValueError) as error:
        return nobody("dks", socket, error)
    except CommandRefused as refusal:
        tell("dks", str(refusal))
        return EXIT_REFUSED
    try:
        if folder is not None:
            export(answer, folder)
    except PolicyError as refusal:
        tell("dks", str(refusal))
        return EXIT_REFUSED
    except (OSError, ValueError) as error:
        tell("dks", f"{folder}: {getattr(error, 'strerror', None) or error}")
        return EXIT_USAGE if isinstance(error, MISNAMED) else EXIT_STATE
    print(json.dumps(answer, indent=2) if as_json else as_text(answer))
    return EXIT_DONE


def export(answer: Mapping[str, Any], folder: Path) -> None:
    """Write each router's signed confirmation to FOLDER/ROUTER.confirmation. OSError; PolicyError for an invalid
    name."""
    make_folder(folder)
    for router, each in answer["routers"].items():
        if each["signed"] is not None:
            path = folder / f"{check_router(router)}{SUFFIX}"
            write_atomic(path, base64.b64decode(each["signed"], validate=True), 0o644)


def as_text(answer: Mapping[str, Any]) -> str:
    """The confirmations as text."""
    lines = []
    for router, each in answer["routers"].items():
        said = each["said"]
        if said is None:
            lines.append(f"{router}: nothing yet (its document has version {each['document_version']})")
            continue
        at = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(said["at"]))
        state = "all in force" if not each["missing"] else "not all in force"
        lines.append(f"{router}: version {said['version']} of {each['document_version']} at {at}, {state}")
        lines += [f"  {word}" for word in each["missing"]]
    return "\n".join(lines) or "there are no routers"
