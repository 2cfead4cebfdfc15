"""Makes what the laboratory needs on a Debian-family machine: packages, Python environment, guest tree, guest kernel.

Standard library only, since it runs before anything is installed. Knows nothing of topologies, routers or keys.
"""
