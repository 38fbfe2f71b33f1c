"""PostgreSQLs that the user adds: unpacked, tried, kept in the user's data directory, removed."""
