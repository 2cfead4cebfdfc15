"""The drivers of the agents' cores: sockets, files, netlink, clocks. Contains no protocol."""
