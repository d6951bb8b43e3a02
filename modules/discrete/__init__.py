"""Families that are a discretisation: every layer is one step of a scheme."""
