"""The command line: one verb a file. Prints, and turns errors into exit codes; computes nothing."""
