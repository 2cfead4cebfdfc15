"""How the routers of a run get their keys: one module per mode, found by name in `base`."""
