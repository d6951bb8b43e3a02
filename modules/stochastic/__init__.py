"""Families whose depth is a stochastic differential equation."""
