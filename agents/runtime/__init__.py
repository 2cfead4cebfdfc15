"""What drives the agents' cores: sockets, files, netlink, clocks. No protocol is in here."""
