"""The simulation behind the choice of intervals and of what Holm's correction covers."""

import math

import numpy as np
import pytest

from integrand.benchmarks.intervals import coverage, false_findings


def four_errors(share, trials):
    return 100 * 4 * math.sqrt(share * (1 - share) / trials)


def test_student_t_is_exact_for_normal_values_and_plain_percentiles_are_not():
    found = coverage("normal", 5, 400, np.random.default_rng(0))
    assert found["Student t"] == pytest.approx(95, abs=four_errors(0.95, 400))
    # by the variance of a resample, the percentile interval is that of z at sqrt(4/5) the width: below 90 %
    assert found["percentile"] < 90 < found["expanded percentile"]


def test_a_reference_chosen_by_its_mean_needs_all_pairs():
    trials = 1000
    found = false_findings(10, 5, trials, np.random.default_rng(0))
    limit = 5 + four_errors(0.05, trials)
    assert found["named baseline"] < limit
    assert found["all pairs"] < limit < found["best mean over k - 1"]
