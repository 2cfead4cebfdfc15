"""The emulated network: namespaces, wires, nodes with FRR, and the laboratory that holds them.

Needs root and, for secured runs, a kernel with IPsec. Knows nothing of experiments, of
timelines or of how a run is reported.
"""
