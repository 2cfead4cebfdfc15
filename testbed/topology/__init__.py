"""Topologies: from a person's YAML, a generator's words or a published network to routers with every address settled.

Stages, one a file: source (what may be written) → read (files, lines) → generate, and zoo, topohub, sndlib and
containerlab (what others publish) → check → address → resolved.
Knows nothing of namespaces, FRR or keys.
"""
