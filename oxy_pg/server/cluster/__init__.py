"""
One data directory: how it is created, configured and started, and what is in it.

What belongs here: files of the cluster, PostgreSQL's programs, the account it runs under, one
postmaster process, a connection to its private socket. What does not: who uses the server, and for
how long (``supervisor/``).
"""
