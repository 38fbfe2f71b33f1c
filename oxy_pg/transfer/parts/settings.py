"""The settings under which schema and rows are written and read: the same on both sides."""

from __future__ import annotations

# For rows, to the end of a transaction: what the text of a value depends on (pg_dump.c,
# setup_connection).
ROWS = """
    SET LOCAL client_encoding = 'UTF8';
    SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'postgres';
    SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL search_path = '';
    SET LOCAL row_security = off; SET LOCAL xmloption = 'content';
    SET LOCAL client_min_messages = 'warning'
"""

# To the end of a transaction: the disk begins to write while rows arrive, so that the commit has
# little to wait for. Not every server that speaks the protocol has the setting.
FLUSH = "SELECT set_config(name, '1MB', true) FROM pg_settings WHERE name = 'backend_flush_after'"

# For the text of a schema, to the end of a session (pg_backup_archiver.c,
# _doSetFixedOutputState).
SCHEMA = """
    SET client_encoding = 'UTF8'; SET search_path = ''; SET check_function_bodies = off;
    SET xmloption = 'content'; SET row_security = off; SET standard_conforming_strings = on
"""
