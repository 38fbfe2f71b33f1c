"""What was done and what was left out: a value, JSON, or an HTML page."""
