"""From an experiment to its results: plans, guests, summaries. Runs on the host; knows nothing of how a guest plays a plan."""
