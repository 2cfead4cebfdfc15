"""A whole domain on virtual time: the agents' cores, the segments between them, perhaps a DKS."""
