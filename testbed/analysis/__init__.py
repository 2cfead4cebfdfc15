"""Numbers from records. Reads what a run wrote, after it has ended; never asks a running network."""
