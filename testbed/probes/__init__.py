"""What watches a run: routes and links, adjacencies, probe packets, captures, IPsec counters."""
