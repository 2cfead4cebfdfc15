"""The questions asked of the laboratory, one a file."""
