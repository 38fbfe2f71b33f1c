"""What a migration will do, decided before anything is written: a value."""
