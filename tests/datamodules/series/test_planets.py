"""Chebyshev spans and what is made of them, on orbits with a closed form."""

from dataclasses import replace

import numpy as np
import pytest

import integrand.datamodules as dm
from integrand.datamodules.acquire.digests import content_digests
from integrand.datamodules.formats import de421, npz
from integrand.datamodules.series.chebyshev import FIRST, LAST, motion
from integrand.datamodules.series.planets import EPOCH, KM, YEAR
from integrand.errors import DataError, UsageError

SPANS, ORDER = 600, 24  # half a year of 183 days each


def circle(radius, period, phase=0.0):
    """Coefficients of a circle in km, period in days."""
    length = (LAST - FIRST) / SPANS
    nodes = np.cos(np.pi * (np.arange(ORDER) + 0.5) / ORDER)
    angle = (
        2 * np.pi * (np.arange(SPANS)[:, None] * length + (nodes + 1) * length / 2) / period + phase
    )  # from FIRST
    position = radius * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    table = np.cos(np.outer(np.arange(ORDER), np.arccos(nodes)))  # T_k at the nodes
    found = 2 / ORDER * position @ table.T
    found[..., 0] /= 2
    return found


def test_position_velocity_and_acceleration_of_a_circle_across_spans():
    period = 687.0
    dates = np.concatenate([[FIRST, LAST], np.linspace(FIRST, LAST, 997)])
    found = motion(circle(1.5, period), dates)
    angle, rate = 2 * np.pi * (dates - FIRST) / period, 2 * np.pi / period
    unit = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    turned = np.stack([-np.sin(angle), np.cos(angle), 0 * angle], axis=1)
    # float64, angles up to 1,000 rad
    np.testing.assert_allclose(found.position, 1.5 * unit, atol=1e-11)
    np.testing.assert_allclose(found.velocity, 1.5 * rate * turned, atol=1e-11)
    np.testing.assert_allclose(found.acceleration, -1.5 * rate**2 * unit, atol=1e-11)


@pytest.fixture
def planets(tmp_path):
    """`Planets` where the earth circles at one unit in a year around a sun that moves."""
    arrays = {body: circle(KM, YEAR) for body in de421.BODIES}
    arrays["sun"] = circle(0.01 * KM, 4000.0)
    arrays["earthmoon"] = circle(KM, YEAR) + arrays["sun"]
    card = replace(dm.Planets.card, digests=content_digests(dm.Planets.card, arrays))
    with (tmp_path / card.file_name).open("wb") as file:
        npz.write(file, arrays, {"digests": dict(card.digests)})

    class Made(dm.Planets):
        pass

    Made.card = card
    return lambda **options: Made(data_dir=str(tmp_path), **options)


def test_orbits_are_around_the_sun_in_astronomical_units_and_years(planets):
    data = planets(bodies=["earthmoon"], start=1950.0, train_years=3.0, val_years=1.0, test_years=30.0)
    parts = data.recordings()
    (test,) = parts["test"]
    x, v = test.values[:, :3], test.values[:, 3:]
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(v, axis=1), 2 * np.pi, atol=1e-8)
    np.testing.assert_array_equal(test.rates[:, :3], v)
    np.testing.assert_allclose(test.rates[:, 3:], -((2 * np.pi) ** 2) * x, atol=1e-7)
    assert [len(parts[s][0]) for s in ("train", "val", "test")] == [110, 37, 1096]
    assert test.times[0] == pytest.approx(1954 - 1900)
    phase = 2 * np.pi * (test.times[0] * YEAR + EPOCH - FIRST) / YEAR
    np.testing.assert_allclose(x[0, :2], [np.cos(phase), np.sin(phase)], atol=1e-9)


def test_a_forecast_from_one_state_and_training_on_derivatives(planets):
    data = planets(bodies=["earthmoon", "mars"], learn="derivatives")
    assert data.spec.channels == 12
    x, query = next(iter(data.train_dataloader()))
    assert x.values.shape[1:] == (1, 12)
    raw = data.denormalise(x.values)[:, 0]
    scales = x.values.new_tensor(data.spec.scales)
    np.testing.assert_allclose(query.rates * scales, data.denormalise(query.rates), rtol=1e-6)
    np.testing.assert_allclose((query.rates * scales)[:, :3], raw[:, 3:6], atol=1e-5)
    _, query = next(iter(data.test_dataloader()))
    assert query.times.shape == (1, 1826), "the test goes on over ten times the training span"


@pytest.mark.parametrize(
    "options",
    [{"start": 1899.0}, {"test_years": 200.0}, {"bodies": ["moon"]}, {"bodies": []}, {"step_days": 0.0}],
)
def test_years_and_bodies_outside_the_ephemeris_are_refused(options):
    with pytest.raises(UsageError):
        dm.Planets(**options)


def test_files_that_hold_no_coefficients_are_refused():
    import io

    def member(name):
        file = io.BytesIO()
        np.save(file, np.zeros((4, 2, 3)))
        return file.getvalue()

    with pytest.raises(DataError, match=r"jpl-mercury.npy holds no coefficients"):
        de421.read(member)
    with pytest.raises(DataError, match=r"jpl-mercury.npy is no array"):
        de421.read(lambda name: b"<html>")
