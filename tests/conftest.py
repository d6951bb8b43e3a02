"""What every test gets: one thread, no telemetry, no network, and stores that lie in its own folder."""

import contextlib
import os
import sqlite3

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


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory):
    """A store with nothing in it. MLflow takes seconds to create its tables; a copy does not."""
    from integrand.tracking.store.opening import open_store

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    client = open_store(f"sqlite:///{path}")
    client.search_experiments()
    # fold the write-ahead log into the file before it is copied
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def accounts(monkeypatch):
    """The accounts of all passes that a family on a bench has made since the test began: `accounts(module)`."""
    from integrand.modules.bench import BenchFamily

    kept = {}
    original = BenchFamily.evaluate

    def evaluate(module, x, times=None):
        said, solves = original(module, x, times)
        kept.setdefault(module, []).extend(solves)
        return said, solves

    monkeypatch.setattr(BenchFamily, "evaluate", evaluate)
    return lambda module: kept.setdefault(module, [])


REQUIRED = "INTEGRAND_REQUIRE_CLUSTER"
"""Where this is set, a cluster test that is skipped has failed: `make test-cluster` installs what it needs."""


def pytest_collection_modifyitems(config, items):
    """Cluster tests run only where `-m` names them, whatever else it says: `-m "not slow"` leaves them out."""
    if "cluster" in (config.option.markexpr or ""):
        return
    left_out = [item for item in items if item.get_closest_marker("cluster")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("cluster")]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A skip is no success where everything that can be installed has been; a GPU cannot be."""
    report = yield
    if (
        report.skipped
        and os.environ.get(REQUIRED)
        and item.get_closest_marker("cluster")
        and not item.get_closest_marker("gpu")
        and not hasattr(report, "wasxfail")
    ):
        report.outcome = "failed"
        report.longrepr = f"skipped although {REQUIRED} is set: {call.excinfo.value}"
    return report
