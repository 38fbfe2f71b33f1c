"""What a migration will do, decided before anything is written: the plan, a value."""
