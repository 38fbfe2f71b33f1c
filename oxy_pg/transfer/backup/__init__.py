"""One database to a file and back: pg_dump, the manifest, pg_restore."""
