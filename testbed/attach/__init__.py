"""The host's side of a running laboratory, and the channel that both sides speak over. Knows no node and no fault."""
