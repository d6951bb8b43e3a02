"""Where run records come from, and which of them belong together."""
