"""The transaction that writes: tables, rows, indexes, sequences, and the verification."""
