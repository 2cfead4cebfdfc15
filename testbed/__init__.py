"""The laboratory: routers, faults, probes and the record of events, around the agents."""
