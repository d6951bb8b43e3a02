"""A comparison as files in a folder: figures and CSV."""
