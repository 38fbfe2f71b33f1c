"""Moving a SQLite database into PostgreSQL."""
