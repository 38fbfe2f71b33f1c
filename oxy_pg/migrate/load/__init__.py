"""The one transaction that writes: tables, rows, indexes, sequences, and their verification."""
