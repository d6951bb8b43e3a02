"""What can be said about groups of runs: estimates with intervals, tests, fronts, curves."""
