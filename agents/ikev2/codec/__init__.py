"""The wire format of IKEv2: octets to values and back. Knows nothing of keys, state or policy."""
