"""From an experiment to its results: plans, guests, summaries. Runs on the host; knows nothing of the guest's
inside."""
