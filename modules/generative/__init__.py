"""Generative models as differential equations: flows and flow matching, on points and on images."""
