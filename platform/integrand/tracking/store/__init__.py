"""The tracking store: opening it, what its runs are called, and finding them again."""
