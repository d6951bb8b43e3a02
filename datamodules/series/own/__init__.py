"""Series of the user's own, from tables in long format: one observation in a row."""
