"""`storm_at_scale`: the agents' cores by the thousands on virtual time, without a guest. Knows no socket and no FRR."""
