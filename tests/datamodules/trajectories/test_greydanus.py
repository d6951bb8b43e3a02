"""The experiments on Hamiltonian networks: starts, sizes and noise are those of the authors' code."""

import numpy as np
import pytest

from integrand.datamodules.trajectories import greydanus

FEW = {"trajectories": 40, "val_trajectories": 2, "test_trajectories": 40, "points": 5}


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INTEGRAND_CACHE", str(tmp_path))


def seen(name, split="train", **kwargs):
    data = getattr(greydanus, name)(learn="derivatives", **{**FEW, **kwargs})
    return np.stack([r.values for r in data.recordings()[split]])


@pytest.mark.parametrize(
    ("name", "observations", "horizon"),
    [
        ("HNNSpring", 25 * 30, 20.0),
        ("HNNPendulum", 25 * 45, 20.0),
        ("HNNTwoBody", 800 * 50, 25.0),
        ("HNNThreeBody", 4000 * 20, 3.0),
    ],
)
def test_sizes(name, observations, horizon):
    data = getattr(greydanus, name)()
    assert data.counts["train"] * data.points == observations
    assert (data.counts["test"], data.eval_duration) == (15, horizon)


@pytest.mark.parametrize(("name", "low", "high"), [("HNNSpring", 0.1, 1.0), ("HNNPendulum", 1.3, 2.3)])
def test_starts_of_the_oscillators(name, low, high):
    train = seen(name, noise=0.0)
    radius = np.linalg.norm(train[:, 0], axis=1)
    assert low <= radius.min() < radius.max() <= high
    assert (np.sign(train[:, 0]).astype(int) != 0).all()
    assert len(np.unique(np.sign(train[:, 0]), axis=0)) == 4  # every quadrant
    test = seen(name, "test")
    assert (np.abs(test[:, 0]) >= 0.2).all()
    assert (np.abs(test[:, 0]) <= 1).all()


def test_noise_is_on_states_and_not_on_rates():
    quiet, noisy = (greydanus.HNNSpring(noise=noise, **FEW) for noise in (0.0, 0.1))
    pairs = list(zip(quiet.recordings()["train"], noisy.recordings()["train"], strict=True))
    assert all((a.rates == b.rates).all() for a, b in pairs)
    spread = np.std([b.values - a.values for a, b in pairs])
    assert spread == pytest.approx(0.1, rel=0.2)  # 400 draws: one part in 28


def test_two_bodies_start_opposite_in_the_first_and_third_quadrant_on_nearly_circular_orbits():
    x = seen("HNNTwoBody")
    q, p = x[:, 0, :4], x[:, 0, 4:]
    assert (q[:, :2] >= 0.5).all()
    assert (q[:, :2] <= 1.5).all()
    np.testing.assert_allclose(q[:, 2:], -q[:, :2])
    np.testing.assert_allclose(p[:, 2:], -p[:, :2])
    np.testing.assert_allclose((q * p).sum(1), 0, atol=1e-12)
    # a circular orbit: v² / r = 1 / (2r)²
    r = np.linalg.norm(q[:, :2], axis=1)
    push = np.linalg.norm(p[:, :2], axis=1) * 2 * np.sqrt(r)
    assert push.mean() == pytest.approx(1, abs=0.03)
    assert 0.02 < push.std() < 0.1


def test_three_bodies_start_on_a_triangle_with_speeds_off_by_a_fifth():
    x = seen("HNNThreeBody")
    q = x[:, 0, :6].reshape(-1, 3, 2)
    assert np.abs(q.sum(axis=1)).max() < 1e-12
    radius = np.linalg.norm(q, axis=2)
    assert 0.9 <= radius.min() < radius.max() <= 1.2
    turned = np.stack([-q[..., 1], q[..., 0]], axis=-1)
    # three bodies on a circle: v² / r = 1 / (√3 r²)
    circular = turned / radius[..., None] * np.sqrt(1 / (np.sqrt(3) * radius))[..., None]
    factor = x[:, 0, 6:].reshape(-1, 3, 2) / circular
    assert 0.8 <= factor.min() < 0.85
    assert 1.15 < factor.max() <= 1.2


@pytest.mark.parametrize(("squares", "potential"), [(False, 3 * (1 - np.cos(0.8))), (True, 0.64)])
def test_the_energy_of_the_pendulum_is_that_of_the_law_or_of_the_notebook(squares, potential):
    energy = greydanus.HNNPendulum(squares=squares).conserved(np.array([[0.8, 0.5]]))
    np.testing.assert_allclose(energy, 0.25 + potential)
