"""Families that know how much they know, built from the networks of others."""
