"""The falling robot: what is drawn, and what is said where MuJoCo is missing."""

import importlib.util

import numpy as np
import pytest

import integrand.datamodules as dm
from integrand.datamodules.series import hopper
from integrand.errors import DataError, UsageError
from integrand.spec import Forecast

SIMULATED = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("mujoco", "dm_control")),
    reason="pip install 'integrand[hopper]'",
)


def test_the_spec_needs_no_simulation():
    spec = dm.Hopper(context=20, horizon=30).spec
    assert spec.question == Forecast(20, 30)
    assert spec.channels == len(spec.names) == len(spec.scales) == 14


def test_without_mujoco_the_extra_is_named(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == "dm_control" else find(n, *a))
    with pytest.raises(DataError, match="not installed") as caught:
        dm.Hopper().setup()
    assert caught.value.remedy == "pip install 'integrand[hopper]'"


@pytest.mark.parametrize("options", [{"trajectories": 0}, {"points": 100}])
def test_numbers_that_make_no_fall_are_refused(options):
    with pytest.raises(UsageError, match="trajectories of"):
        dm.Hopper(**options)


def test_throws_are_kept_and_differ_between_splits(monkeypatch):
    drawn = []

    def fall(starts, points):
        drawn.append(starts)
        return np.repeat(starts[:, None], points, axis=1)

    monkeypatch.setattr(hopper, "fall", fall)
    options = {"trajectories": 40, "val_trajectories": 2, "test_trajectories": 3, "points": 12, "context": 5}
    options["horizon"] = 7
    data = dm.Hopper(**options)
    data.setup()
    assert data.sizes == {"n_train": 40, "n_val": 2, "n_test": 3}
    (train, val, _) = drawn
    assert train[:, :2].min() >= 0
    assert train[:, :2].max() <= 0.5
    assert 1.9 < np.abs(train[:, 2:7]).max() <= 2
    assert 4.9 < np.abs(train[:, 7:]).max() <= 5
    assert not np.allclose(train[:2], val)
    again = dm.Hopper(**options, seed=7)
    again.setup()
    assert len(drawn) == 3, "the second reads what the first has kept"
    assert again.digest == data.digest
    x, query = next(iter(data.test_dataloader()))
    assert x.values.shape == (3, 5, 14)
    assert query.times.shape == (3, 7)


@SIMULATED
def test_a_robot_in_the_air_falls_freely():
    start = np.zeros((1, 14))
    start[0, 1] = 50.0  # far above the ground
    start[0, [4, 5]] = -1.0, 1.0  # hip and knee inside their limits, which would push otherwise
    states = hopper.fall(start, 101)[0]
    seconds = 0.005 * 100
    # steps of first order: half a step of the final speed
    assert states[0, 1] == 50
    assert states[-1, 1] == pytest.approx(50 - 9.81 * seconds**2 / 2, abs=9.81 * seconds * 0.005)
    assert states[-1, 8] == pytest.approx(-9.81 * seconds, rel=1e-6)
    np.testing.assert_allclose(states[-1, 2:7], start[0, 2:7], atol=1e-9)
