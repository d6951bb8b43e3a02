"""The statistics: agreement with SciPy, hand-derived values, and error rates by simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from integrand.comparison.statistics.estimates import (
    EXACT_PAIRS,
    estimate,
    holm,
    interquartile_mean,
    paired_difference,
    paired_t_p,
    sign_flip_p,
)

finite = st.floats(-1e3, 1e3, allow_nan=False, allow_subnormal=False)


@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_interval_agrees_with_scipy(n):
    x = np.random.default_rng(n).normal(3.0, 2.0, n)
    found = estimate(list(x))
    low, high = stats.ttest_1samp(x, 0.0).confidence_interval(0.95)
    # both are a handful of float64 operations on numbers of order one
    assert found.low == pytest.approx(low, rel=1e-12)
    assert found.high == pytest.approx(high, rel=1e-12)
    assert found.n == n
    assert "Student t" in found.method


def test_one_value_has_no_interval():
    found = estimate([0.5])
    assert (found.mean, found.low, found.high, found.sd, found.half_width) == (0.5, None, None, None, None)
    assert "no interval" in found.method


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_values_must_be_finite(values):
    with pytest.raises(ValueError, match="finite"):
        estimate(values)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_interval_covers_as_often_as_it_says(n):
    """Normal values: coverage is exactly 95 %. With z in place of t it would be 81 % at n = 3."""
    trials = 4000
    samples = np.random.default_rng(0).normal(1.0, 0.3, (trials, n))
    covered = np.mean([(e := estimate(list(s))).low <= 1.0 <= e.high for s in samples])
    # four standard errors of a proportion of 0.95 over the trials: 0.0138
    assert abs(covered - 0.95) < 4 * math.sqrt(0.95 * 0.05 / trials)


def test_interquartile_mean_cuts_a_quarter_off_each_end():
    # n = 8: two off each end leaves 3, 4, 5, 6; the outlier does not matter
    assert interquartile_mean([1, 2, 3, 4, 5, 6, 7, 1000]) == 4.5
    # n = 3: floor(3/4) = 0, the mean
    assert interquartile_mean([1, 2, 6]) == 3.0


@given(st.lists(finite, min_size=1, max_size=40))
def test_interquartile_mean_agrees_with_scipy(values):
    # rounding of two sums of at most 40 numbers of at most 1e3
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25), abs=1e-10)


@pytest.mark.parametrize("n", [2, 3, 10])
def test_paired_t_agrees_with_scipy(n):
    generator = np.random.default_rng(n)
    a, b = generator.normal(0.5, 1, n), generator.normal(0, 1, n)
    assert paired_t_p(list(a - b)) == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)


def test_paired_t_without_spread():
    assert paired_t_p([0.0, 0.0, 0.0]) == 1.0
    assert paired_t_p([0.01, 0.01, 0.01]) is None
    # 0.3 - 0.2 and 0.4 - 0.3 differ in the last bit, which is no spread
    assert paired_t_p([0.3 - 0.2, 0.4 - 0.3, 0.1]) is None
    assert paired_t_p([0.5]) is None


@pytest.mark.parametrize("n", [2, 3, 7])
def test_sign_flip_agrees_with_scipy(n):
    d = list(np.random.default_rng(n).normal(0.7, 1, n))
    reference = stats.permutation_test(
        (d,), lambda x, axis: np.abs(np.sum(x, axis=axis)), permutation_type="samples", alternative="greater"
    )
    assert sign_flip_p(d) == (pytest.approx(reference.pvalue, abs=1e-12), True)


@pytest.mark.parametrize(("n", "floor"), [(1, 1.0), (2, 0.5), (3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_sign_flip_floor(n, floor):
    """However large the difference, p is at least 2^(1-n): all signs equal, both ways."""
    found = paired_difference([10.0 + i for i in range(n)], [0.0] * n)
    assert found.p_flip == floor == found.p_floor


def test_sign_flip_counts_ties_despite_rounding():
    # the sum is 5.6e-17 or 0 by the order of addition; every pattern is at least as extreme
    assert sign_flip_p([0.1, 0.2, -0.3])[0] == 1.0
    assert sign_flip_p([0.0, 0.0, 0.0])[0] == 1.0


@pytest.mark.parametrize("n", [3, 5, 8])
@pytest.mark.parametrize("resolution", [1.0, 0.5])
def test_sign_flip_keeps_its_level_under_ties(n, resolution):
    """Accuracies on few images fall on a coarse grid: ties between seeds may not raise the error rate."""
    trials = 3000
    draws = np.random.default_rng(1).normal(0, 1, (trials, n))
    differences = np.round(draws / resolution) * resolution
    p = np.array([sign_flip_p(list(d))[0] for d in differences])
    for alpha in (0.05, 0.25, 0.5):
        # an exact test is at most at its level; four standard errors of the simulation above that
        assert np.mean(p <= alpha) <= alpha + 4 * math.sqrt(alpha * (1 - alpha) / trials)
    # and it is no empty test: at a level that it can reach it rejects now and then
    assert np.mean(p <= 2.0 ** (1 - n)) > 0


def test_sign_flip_level_is_exact_without_ties():
    trials, n = 4000, 5
    draws = np.random.default_rng(2).normal(0, 1, (trials, n))
    rejected = np.mean([sign_flip_p(list(d))[0] <= 0.25 for d in draws])
    assert abs(rejected - 0.25) < 4 * math.sqrt(0.25 * 0.75 / trials)


def test_monte_carlo_agrees_with_the_exact_test():
    d = list(np.random.default_rng(3).normal(0.4, 1, EXACT_PAIRS + 1))
    p, exact = sign_flip_p(d)
    assert not exact
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(d))))
    full = np.mean(np.abs(signs @ np.array(d)) >= abs(sum(d)) - 1e-12)
    # four standard errors of a proportion over 99,999 draws
    assert abs(p - full) < 4 * math.sqrt(full * (1 - full) / 99_999)
    assert p == sign_flip_p(d)[0]


def test_holm_by_hand():
    """Sorted p 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1 is 0.02, 0.03, 0.06, 0.04; running maximum."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], rel=1e-12)
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_the_step_down_procedure(p):
    """Rejecting where the adjusted p ≤ α is: walk up the sorted p while p(i) ≤ α/(m-i+1) (Holm 1979)."""
    for alpha in (0.013, 0.05, 0.2):
        rejected = set()
        for rank, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
            if p[index] * (len(p) - rank) > alpha:
                break
            rejected.add(index)
        assert {i for i, q in enumerate(holm(p)) if q <= alpha} == rejected


def test_holm_controls_the_chance_of_any_false_finding():
    trials, m = 2000, 5
    p = np.random.default_rng(4).uniform(size=(trials, m))
    wrong = np.mean([min(holm(list(row))) <= 0.05 for row in p])
    assert wrong <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / trials)
    assert np.mean(p.min(axis=1) <= 0.05) > 0.15  # uncorrected it would be 23 %


@given(st.lists(finite, min_size=2, max_size=8), st.randoms())
def test_nothing_depends_on_the_order_of_runs(values, random):
    shuffled = values.copy()
    random.shuffle(shuffled)
    assert estimate(values) == estimate(shuffled)
    assert sign_flip_p(values) == sign_flip_p(shuffled)
    assert paired_t_p(values) == paired_t_p(shuffled)


def test_pairing_removes_what_seeds_share():
    """A seed effect far larger than the difference: the paired test sees the difference all the same."""
    seeds = np.random.default_rng(5).normal(0, 10, 6)
    noise = np.random.default_rng(6).normal(0, 0.1, 6)
    found = paired_difference(list(seeds + 1 + noise), list(seeds))
    assert found.p_t < 0.001
    assert stats.ttest_ind(seeds + 1 + noise, seeds).pvalue > 0.5
    assert found.estimate.low < 1 < found.estimate.high


def test_pairs_must_match():
    with pytest.raises(ValueError, match="argument"):
        paired_difference([1.0, 2.0], [1.0])
