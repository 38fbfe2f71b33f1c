"""Moving PostgreSQL data: backup, restore, push, pull, upgrade."""
