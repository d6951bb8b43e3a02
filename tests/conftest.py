"""What every test gets: one thread, no telemetry, no network, and stores that lie in its own folder."""

import os

# before torch is imported: two test processes with two threads each are slower than with one
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest


@pytest.fixture(autouse=True)
def _isolated(monkeypatch, tmp_path, request):
    """Tests neither download nor see the user's tracking store."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("INTEGRAND_RUNS", raising=False)
    if not request.node.get_closest_marker("network"):
        monkeypatch.setenv("INTEGRAND_OFFLINE", "1")
