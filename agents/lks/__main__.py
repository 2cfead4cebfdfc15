"""`python3 -m agents.lks --config lks.toml`."""

from agents.lks.daemon import entry

entry()
