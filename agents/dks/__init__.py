"""The Domain Key Server: signed policy for every router, and where policy says so the groups' keys.

Sans-IO; `daemon` alone touches sockets and files, through agents.runtime.
"""
