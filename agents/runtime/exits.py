"""What the agents' programs end with."""

EXIT_DONE = 0
EXIT_REFUSED = 1
EXIT_USAGE = 2
"""Of bad configuration and bad words."""
EXIT_STATE = 3
"""Of state or a system that cannot be used."""
EXIT_NO_AGENT = 3
