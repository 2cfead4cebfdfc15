"""From policy and keys to the kernel's SPD and SAD, without a cleartext packet in between."""
