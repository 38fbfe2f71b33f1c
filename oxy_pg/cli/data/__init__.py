"""The commands that copy data: backups, snapshots, other servers, and SQLite both ways."""
