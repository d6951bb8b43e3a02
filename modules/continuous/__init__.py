"""Families whose depth is continuous: a solver integrates one vector field."""
