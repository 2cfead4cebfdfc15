"""Runs a command inside a kernel that has IPsec, netem and bridges. Knows nothing of what the command does."""
