"""
The process that owns the postmaster and counts leases, and the client's side of it.

In the supervisor's process: ``daemon`` (its first lines), ``order`` (what it was told to do),
``loop`` (its states), and what the loop asks: ``clients``, ``watched`` (the postmaster), ``ports``,
``recovery`` (after a crash) and ``idle`` (when to stop). In a client: ``launcher``, ``spawn``,
``lease``, ``lock`` and ``shutdown``.

What runs in the supervisor imports little: each start waits for it, and it stays in memory as long
as the server runs.
"""
