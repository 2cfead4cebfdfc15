"""Topologies: from a person's YAML, a generator's words or a Topology Zoo file to routers with every address settled.

Stages, one a file: source (what may be written) → read (files, lines) → generate, zoo → check → address → resolved.
Knows nothing of namespaces, FRR or keys.
"""
