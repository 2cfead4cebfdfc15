"""From a topology to a domain with keys and signed documents: for the guest, simulations, benchmarks and tests."""
