"""A blog with one table."""
