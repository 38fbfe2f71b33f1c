"""The PostgreSQL side: the connection and its settings, the catalogs, what is set aside."""
