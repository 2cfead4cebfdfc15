"""The laboratory: routers, faults, probes and the record of what happened, around the agents."""
