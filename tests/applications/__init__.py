"""Real applications, moved to PostgreSQL and used there: ``nox -s applications``."""
