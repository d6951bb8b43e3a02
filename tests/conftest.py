"""What every test gets: one thread, no telemetry, no network, stores in its own folder, `pipelines`."""

import contextlib
import gc
import importlib.util
import os
import sqlite3
import sys
from pathlib import Path

# before torch is imported: two test processes with two threads each are slower than with one
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest

# pytest's importlib mode keeps this folder off the path
_spec = importlib.util.spec_from_file_location("pipelines", Path(__file__).with_name("pipelines.py"))
sys.modules["pipelines"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sys.modules["pipelines"])


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


@pytest.fixture
def graphs_left():
    """Counts the tensors with a history that a second call leaves behind, beside those of the first.

    A cycle through a hook of autograd is seen by no collector: the activations of every batch would stay.
    """
    import torch

    def living():
        gc.collect()
        return sum(issubclass(type(o), torch.Tensor) and o.grad_fn is not None for o in gc.get_objects())

    def left(call):
        call()
        first = living()
        call()
        return living() - first

    gc.freeze()  # what is there already is not looked at
    yield left
    gc.unfreeze()


def pytest_collection_modifyitems(config, items):
    """Cluster tests and the campaign run only where `-m` names them: `-m "not slow"` leaves them out."""
    named = config.option.markexpr or ""
    for marker in ("cluster", "reliability"):
        left_out = [item for item in items if marker not in named and item.get_closest_marker(marker)]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in left_out]


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


def ragged(lengths=(9, 5, 1, 7), channels=3, missing=0.3, seed=0, static=0):
    """Irregular series of these lengths in float64; a share `missing` of the values was not observed."""
    import torch

    from integrand.series import Series

    g = torch.Generator().manual_seed(seed)
    batch, n = len(lengths), max(lengths)
    number = torch.tensor(lengths)
    present = torch.arange(n) < number[:, None]
    times = (torch.rand(batch, n, generator=g, dtype=torch.float64) + 0.2).cumsum(dim=1)
    times = times.gather(1, torch.minimum(torch.arange(n), number[:, None] - 1))
    mask = present[..., None] & (torch.rand(batch, n, channels, generator=g) >= missing)
    values = torch.randn(batch, n, channels, generator=g, dtype=torch.float64) * mask
    known = torch.randn(batch, static, generator=g, dtype=torch.float64)
    return Series(times, values, mask, number, known)


def padded(x, more=3):
    """The batch with further padding."""
    import torch

    from integrand.series import Series

    times = torch.cat((x.times, x.times[:, -1:].expand(-1, more)), dim=1)
    blank = torch.zeros_like(x.values[:, :1]).expand(-1, more, -1)
    values, mask = torch.cat((x.values, blank), dim=1), torch.cat((x.mask, blank > 0), dim=1)
    return Series(times, values, mask, x.lengths, x.static)


def asked_of(x, horizon=4, missing=0.2, seed=1):
    """What is asked about each series behind its last observation."""
    import torch

    from integrand.series import Query

    g = torch.Generator().manual_seed(seed)
    shape = (len(x), horizon, x.values.shape[-1])
    gaps = torch.rand(shape[:2], generator=g, dtype=torch.float64) + 0.2
    mask = torch.rand(shape, generator=g) >= missing
    values = torch.randn(shape, generator=g, dtype=torch.float64) * mask
    return Query(x.end[:, None] + gaps.cumsum(1), values, mask)


@pytest.fixture(scope="session")
def series():
    """Makes a batch of series; see `ragged`."""
    return ragged


@pytest.fixture(scope="session")
def pad():
    """Adds padding to a batch of series; see `padded`."""
    return padded


@pytest.fixture(scope="session")
def ask():
    """Makes what is asked about a batch of series; see `asked_of`."""
    return asked_of


@pytest.fixture(scope="session")
def series_spec():
    """Makes the spec of such series: `series_spec(question, **others)`, three classes by default."""

    def make(question=None, **others):
        from integrand.spec import Classes, SeriesSpec

        sizes = {"channels": 3, "length": 9, "irregular": True, "missing": True, **others}
        return SeriesSpec("made-up", question or Classes(3), **sizes)

    return make


@pytest.fixture(scope="session")
def same_alone(pad):
    """Checks that what a function says of a batch depends on neither padding, order nor company."""
    import torch

    from integrand.series import Series

    def check(said, x, **tolerance):
        whole = said(x)
        torch.testing.assert_close(said(pad(x)), whole, **tolerance)
        order = torch.arange(len(x)).flip(0)
        torch.testing.assert_close(said(x[order]), whole[order], **tolerance)
        for i in range(len(x)):
            n = int(x.lengths[i])
            one = Series(
                x.times[i : i + 1, :n],
                x.values[i : i + 1, :n],
                x.mask[i : i + 1, :n],
                x.lengths[i : i + 1],
                x.static[i : i + 1],
            )
            torch.testing.assert_close(said(one), whole[i : i + 1], **tolerance)

    return check
