"""
One data directory: how it is created, configured and started, and what is in it.

What belongs here: files of the cluster, PostgreSQL's programs, the account that they run under, one
postmaster process, a connection to its private socket. What does not: which processes use the
server, and for how long (``supervisor/``).
"""
