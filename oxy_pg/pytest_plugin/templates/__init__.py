"""What test databases are copied from: named by a key, filled once, shared, kept, expired."""
