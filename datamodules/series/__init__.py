"""Series of observations: measured, generated from known equations, or the user's own."""
