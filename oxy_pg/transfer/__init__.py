"""
Moving PostgreSQL data: ``backup/`` to a file and back, ``copy/`` from one server to another.

Beside them stands what both need: ``database`` asks what is in one, ``tools`` runs PostgreSQL's
client programs, ``swap`` replaces a database by a new one, ``report`` is the outcome.
"""
