"""Hostile octets for everything that reads octets: `lab fuzz`, and in the tests the kept corpora. See docs/security.md."""
