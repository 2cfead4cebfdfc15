"""Automated key management for routers' control traffic: Policy Server, DKS, LKS. Knows nothing of the laboratory."""

__version__ = "0.2.0"
