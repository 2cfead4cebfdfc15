"""The exit codes of the agents' programs."""

EXIT_DONE = 0
EXIT_REFUSED = 1
EXIT_USAGE = 2
"""Bad configuration or bad arguments."""
EXIT_STATE = 3
"""Unusable state or system."""
EXIT_NO_AGENT = 3
