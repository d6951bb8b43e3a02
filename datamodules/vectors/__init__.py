"""Vectors with a class or with targets: experiments in the plane, and tables."""
