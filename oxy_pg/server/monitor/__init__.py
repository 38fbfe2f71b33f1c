"""
What a running server does: its state, its sessions, slow queries, locks, tables.

What belongs here only reads; nothing here starts, stops or changes a server.
"""
