"""Data of the user's own, told what they are by looking at them: images, arrays, tables."""
