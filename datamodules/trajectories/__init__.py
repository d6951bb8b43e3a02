"""Trajectories generated from known equations, by a reference integrator."""
