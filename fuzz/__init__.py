"""Hostile octets for everything that reads octets: `lab fuzz`; the kept corpora run in the tests (docs/security.md)."""
