"""Types and values: what a SQLite value becomes in PostgreSQL, exactly or not at all."""
