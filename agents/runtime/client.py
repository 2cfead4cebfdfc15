"""A command to a running agent, from the command line. Knows no agent's commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agents.runtime.control import CommandRefused, ask, follow
from agents.runtime.exits import EXIT_DONE, EXIT_NO_AGENT, EXIT_REFUSED
from agents.runtime.stderr import tell


def show(program: str, path: Path, command: str, as_text: Callable[[Mapping[str, Any]], str] | None) -> int:
    """Send the command and print the answer; JSON without `as_text`. 0: done, 1: refused, 3: no agent answers."""
    try:
        answer = ask(path, command)
    except CommandRefused as refusal:
        tell(program, str(refusal))
        return EXIT_REFUSED
    except (OSError, ValueError) as error:
        return nobody(program, path, error)
    print(json.dumps(answer, indent=2) if as_text is None else as_text(answer))
    return EXIT_DONE


def show_events(program: str, path: Path) -> int:
    """Print events as they happen, one JSON object a line, until interrupted or the agent ends."""
    try:
        for event in follow(path, "events"):
            print(json.dumps(event, separators=(",", ":")), flush=True)
    except (KeyboardInterrupt, BrokenPipeError):
        return EXIT_DONE
    except (OSError, ValueError) as error:
        return nobody(program, path, error)
    return EXIT_DONE


def nobody(program: str, path: Path, error: Exception) -> int:
    """Report that no agent answers there; the exit code."""
    tell(
        program,
        f"no answer from an agent at {path}: {getattr(error, 'strerror', None) or error}",
        f"systemctl status {program}; {program} check",
    )
    return EXIT_NO_AGENT
