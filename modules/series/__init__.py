"""Families that read a series observation by observation: recurrent, latent, controlled, baselines."""
