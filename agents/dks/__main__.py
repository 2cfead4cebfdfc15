"""`python3 -m agents.dks --config dks.toml`."""

from agents.dks.daemon import entry

entry()
