"""`lab soak`: the agents' cores under a seeded adversary, judged after each step. Knows no guest and no socket."""
