"""The Local Key Server: key server of its router's own groups, member of its neighbours' groups.

Sans-IO; `daemon` alone touches sockets and files, through agents.runtime.
"""
