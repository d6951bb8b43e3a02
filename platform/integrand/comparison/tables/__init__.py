"""A comparison as tables and sentences, for terminals, Markdown and LaTeX."""
