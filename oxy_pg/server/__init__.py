"""
Keeping one PostgreSQL running.

``cluster/`` is one data directory and its postmaster; ``supervisor/`` is the process that owns the
postmaster, and the client's side of it; ``monitor/`` shows what a running server does; ``upgrade/``
moves a cluster of another major version to this one; ``doctor/`` finds what would stop a start. The
modules alongside are what the public verbs use: ``server`` (the embedded one), ``temporary``,
``external`` (the one that OXY_DATABASE_URL names), and ``tuning``.
"""
