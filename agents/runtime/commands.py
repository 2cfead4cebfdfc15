"""The common command line of both daemons: `run`, `check`, and commands to the running one. Knows no daemon."""

from __future__ import annotations

import argparse
from pathlib import Path

from agents.runtime import journal, keylog
from agents.runtime.stderr import Words
from agents.runtime.version import Version


class Commands:
    """`config`: the file that is read unless `--config` names another. `run`: the help of that command."""

    def __init__(self, program: str, description: str, config: Path, run: str) -> None:
        self.parser = Words(prog=program, description=description)
        self.parser.add_argument("--version", action=Version)
        self._verbs = self.parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
        self._config = config
        started = self._verb("run", run)
        started.add_argument("--ike-log", type=Path, metavar="FILE", help=keylog.HELP)
        journal.add_options(started)
        look = "Check that the service can do its work here, and print what to do where it cannot; changes nothing."
        _with_json(self._verb("check", look))

    def question(self, name: str, text: str, *, as_json: bool = False) -> argparse.ArgumentParser:
        """A command that the running daemon answers. `as_json`: with JSON output too."""
        added = self._verb(name, text)
        added.add_argument("--socket", type=Path, help="socket of the running service (the configuration's `socket`)")
        return _with_json(added) if as_json else added

    def _verb(self, name: str, text: str) -> argparse.ArgumentParser:
        added = self._verbs.add_parser(name, help=text, description=text)
        added.add_argument("--config", type=Path, default=self._config, help=f"{self._config.name} ({self._config})")
        return added


def _with_json(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--json", action="store_true", help="machine-readable JSON")
    return parser
