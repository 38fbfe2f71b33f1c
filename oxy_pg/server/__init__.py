"""
Keeping one PostgreSQL running.

``cluster/`` is one data directory and its postmaster; ``supervisor/`` the process that owns the
postmaster, and the client's side of it; ``monitor/`` looks at what runs; ``upgrade/`` replaces the
cluster of another major version; ``doctor/`` finds what would stop a start. Beside them stand the
handles that the public verbs use: ``server``, ``temporary``, ``external``, and ``tuning``.
"""
