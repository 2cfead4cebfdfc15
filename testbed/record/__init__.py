"""The plan of a run, and the record of what happened in it."""
