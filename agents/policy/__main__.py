"""`python3 -m agents.policy`: the Policy Server's command line."""

from agents.policy.cli import entry

entry()
