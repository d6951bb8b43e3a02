"""Data without spread, and the error that random directions leave."""

import math

import pytest
import torch

from integrand.metrics import kernel_distance, mmd2, sliced_w2, sliced_w2_with_error


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.0])
def test_constant_data_have_finite_distances(value):
    """0.1 has a rounding error in its mean, which is no spread."""
    same, apart = torch.full((20, 3), value, dtype=torch.float64), draws(20, 3)
    for score in (mmd2, kernel_distance):
        assert score(same, same) == pytest.approx(0, abs=1e-12)
        for a, b in ((apart, same), (same, apart)):
            assert 0 < score(a, b) < 1e4  # (3 · 3 + 1)³ at most


def test_mmd_of_samples_from_one_point_counts_in_their_own_spread():
    """Scaling both by any factor changes nothing."""
    point, apart = torch.zeros(20, 2), draws(20, 2)
    assert mmd2(1000 * apart, point) == pytest.approx(mmd2(apart, point), rel=1e-9)


def test_one_constant_feature_leaves_the_others_as_they_are():
    a, b = draws(30, 2) + 0.5, draws(30, 2, seed=1)
    constant = torch.full((30, 1), 0.1, dtype=torch.float64)
    # kernel (xᵀy/d + 1)³: a feature that is 0 in both sets counts in d alone
    wide = kernel_distance(torch.cat((a, constant), 1), torch.cat((b, constant), 1))
    mean, std = b.mean(0), b.std(0)
    x, y = (a - mean) / std, (b - mean) / std

    def total(p, q, same):
        k = (p @ q.T / 3 + 1) ** 3
        return float(k.sum() - k.diagonal().sum()) / (30 * 29) if same else float(k.mean())

    assert wide == pytest.approx(total(x, x, True) + total(y, y, True) - 2 * total(x, y, False), rel=1e-9)


@pytest.mark.parametrize("d", [2, 64])
def test_the_stated_error_is_that_of_the_directions(d):
    """Of a shift s by L directions: var (θ·s)² = 2 (d − 1)/(d + 2) |s|⁴/d², so δ/W = √(var/L)/(2 |s|²/d)."""
    a, shift, n = draws(10, d), torch.ones(d, dtype=torch.float64), 4000
    found = sliced_w2_with_error(a, a + shift, directions=n)
    # the deviation is itself estimated from n values with kurtosis up to 15: 3 %
    assert found.error / found.value == pytest.approx(math.sqrt(2 * (d - 1) / (d + 2) / n) / 2, rel=0.1)
    assert sliced_w2(a, a + shift, directions=n) == found.value
    assert abs(found.value - math.sqrt(d / d)) < 4 * found.error
    assert sliced_w2_with_error(a, a).error == 0
    assert sliced_w2_with_error(a, a + shift, directions=1).error == math.inf
