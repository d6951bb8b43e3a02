"""The benches for images: the shared one, and those of published nets."""
