"""Debian packages and an OCI image of the agents, from a checkout or an older commit.

Reproducible: the same commit, locks and release give the same bytes. Knows nothing of the laboratory's guests.
"""
