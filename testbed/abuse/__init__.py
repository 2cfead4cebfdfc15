"""The laboratory itself under abuse."""
