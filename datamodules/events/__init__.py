"""Sequences of events: when they came and of which kind."""
