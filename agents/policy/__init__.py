"""The domain's policy: routers, interfaces, adjacencies, signed documents, and the Policy Server."""
