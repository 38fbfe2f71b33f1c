"""
The process that owns the postmaster and counts leases, and the client's side of it.

In the supervisor's process: ``daemon``, ``order``, ``loop``, ``clients``. In a client: ``spawn``,
``launcher``, ``lease``, ``lock``, ``shutdown``.
"""
