"""Keeping one PostgreSQL running."""
