"""The sources of the routers' keys in a run: one module per mode, found by name in `base`."""
