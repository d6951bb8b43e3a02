"""Distances between sets of points against closed forms and against POT's own."""

import itertools
import math

import numpy as np
import ot
import pytest
import torch

from integrand.errors import SpecError, UsageError
from integrand.metrics import exact_w2, mmd2, sliced_w2
from integrand.metrics import wasserstein as where


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_exact_w2_is_the_best_of_all_pairings():
    a, b = draws(6, 3), draws(6, 3, seed=1)
    best = min(float((a - b[list(p)]).square().sum(dim=1).mean()) for p in itertools.permutations(range(6)))
    assert exact_w2(a, b) == pytest.approx(math.sqrt(best), rel=1e-12)


def test_a_shift_has_its_length_as_distance():
    a, shift = draws(50, 2), torch.tensor([3.0, 4.0], dtype=torch.float64)
    assert exact_w2(a, a + shift) == pytest.approx(5)
    assert exact_w2(a, a[torch.randperm(50)]) == pytest.approx(0, abs=1e-7)


def test_sliced_w2_of_a_shift():
    # (θ·s)² has mean |s|²/d over the sphere; 20,000 directions, deviation |s|²/√(2·20000) in the plane
    a, shift = draws(50, 2), torch.tensor([3.0, 4.0], dtype=torch.float64)
    assert sliced_w2(a, a + shift, directions=20_000) ** 2 == pytest.approx(12.5, abs=0.4)


def test_sliced_w2_is_pots():
    a, b = draws(80, 3), 2 * draws(80, 3, seed=1)
    generator = torch.Generator().manual_seed(4)
    lines = torch.randn(3, 64, generator=generator, dtype=torch.float64)
    lines = (lines / lines.norm(dim=0)).numpy()
    expected = ot.sliced_wasserstein_distance(a.numpy(), b.numpy(), projections=lines)
    assert sliced_w2(a, b, directions=64, seed=4) == pytest.approx(float(expected), rel=1e-6)


def test_in_one_dimension_sliced_is_exact():
    a, b = draws(40, 1), draws(40, 1, seed=1) + 1
    assert sliced_w2(a, b) == pytest.approx(exact_w2(a, b), rel=1e-9)


def test_mmd_is_the_double_sum():
    a, b = draws(5, 2), draws(4, 2, seed=1)
    scale = float((b - b.mean(dim=0)).square().sum(dim=1).mean())

    def k(x, y):
        return np.mean([math.exp(-float((x - y).square().sum()) / (2 * scale * w * w)) for w in (0.5, 1.5)])

    within = [
        sum(k(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j) / (len(x) * (len(x) - 1))
        for x in (a, b)
    ]
    across = np.mean([[k(x, y) for y in b] for x in a])
    assert mmd2(a, b, widths=(0.5, 1.5)) == pytest.approx(sum(within) - 2 * across, rel=1e-12)


def test_mmd_is_unbiased_and_sees_a_shift():
    values = [mmd2(draws(40, 2, seed=2 * i), draws(40, 2, seed=2 * i + 1)) for i in range(60)]
    # mean 0: 4 standard errors of these very values
    assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(60)
    assert min(values) < 0 < max(values)
    assert mmd2(draws(200, 2), draws(200, 2, seed=1) + 1) > 5 * np.std(values)


def test_images_are_taken_as_vectors():
    a, b = draws(6, 1, 2, 2), draws(6, 1, 2, 2, seed=1)
    for score in (exact_w2, sliced_w2, mmd2):
        assert score(a, b) == pytest.approx(score(a.flatten(1), b.flatten(1)))


@pytest.mark.parametrize("score", [exact_w2, sliced_w2, mmd2])
def test_bad_points_are_refused(score):
    a = draws(4, 2)
    bad = a.clone()
    bad[1, 0] = math.nan
    with pytest.raises(SpecError, match="not finite"):
        score(bad, a)
    with pytest.raises(SpecError, match=r"\(4, 2\) and \(4, 3\)"):
        score(a, draws(4, 3))


def test_without_pot_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ot", None)
    with pytest.raises(UsageError, match=r"pip install 'integrand\[ot\]'"):
        where.require_pot()
