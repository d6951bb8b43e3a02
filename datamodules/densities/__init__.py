"""Distributions in the plane, drawn anew in every epoch."""
