"""Families that build the structure of mechanics, or a known law, into the equation of a trajectory."""
