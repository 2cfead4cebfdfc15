"""What can go wrong in a laboratory, as actions of a timeline."""
