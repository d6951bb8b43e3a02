"""Benchmarks: `integrand bench NAME`."""
