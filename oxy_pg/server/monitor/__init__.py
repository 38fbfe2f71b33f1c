"""
What a running server does: its state, its sessions, slow queries, locks, tables.

What belongs here only reads; nothing here starts, stops or changes a server. ``status`` and
``activity`` are the values, ``questions`` and ``slow_queries`` are how they are found out;
``embedded`` and ``external`` ask them of a server, again and again if wanted. ``redaction`` removes
secrets from what is shown.
"""
