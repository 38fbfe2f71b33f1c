"""The SQLite side: the file, its schema, its SQL text, and the processes that read it."""
