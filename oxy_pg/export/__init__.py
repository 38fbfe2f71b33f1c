"""
PostgreSQL to SQLite: one database, as of one snapshot, as one SQLite file.

The way back of ``migrate/``. A plan says what becomes of every table and every
column, and what SQLite cannot hold, before the first write; the file is written
aside, verified value by value, synced and renamed.
"""
