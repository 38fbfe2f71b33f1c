"""The statements that create tables, indexes, keys and constraints, and the conditions in them."""
