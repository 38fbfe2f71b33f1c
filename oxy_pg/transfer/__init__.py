"""
Moving PostgreSQL data: ``backup/`` to a file and back, ``copy/`` from one server to another.

A verb decides first: its plan is a value, made by reading alone. Then an
executor carries the plan out. ``parts/`` are what a database consists of when it
is copied. Used by all: ``database`` connects and asks what is in a database,
``tools`` finds PostgreSQL's client programs and ``running`` runs one, ``swap``
replaces a database by a new one, ``locks`` keeps two transfers apart,
``properties`` are a database's own settings, ``contents`` and ``report`` values.

A server is waited for once, when a verb first connects, until the deadline that
both sides share. Afterwards no connection is waited for: a server that is down
by then has lost the snapshot and the locks of the transfer.
"""
