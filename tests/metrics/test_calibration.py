"""Scores of probabilities and of predictive distributions against torchmetrics, scikit-learn and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import log_loss
from torchmetrics.functional.classification import multiclass_calibration_error
from torchmetrics.functional.regression import continuous_ranked_probability_score

from integrand.metrics import calibration as scores
from integrand.metrics import predictive


@pytest.fixture
def drawn():
    source = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(500, 4, generator=source)
    target = torch.distributions.Categorical(logits=0.5 * logits).sample()
    return logits.double().softmax(1), target


@pytest.mark.parametrize("bins", [10, 15])
def test_calibration_error_agrees_with_torchmetrics(drawn, bins):
    expected = multiclass_calibration_error(*drawn, num_classes=4, n_bins=bins)
    # torchmetrics bins in float32
    assert scores.equal_width_bins(*drawn, bins).error == pytest.approx(float(expected), abs=1e-6)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    p = torch.tensor([[0.6, 0.4], [0.4, 0.6]], dtype=torch.float64)
    assert scores.equal_width_bins(p, torch.tensor([0, 0]), 5).counts.tolist() == [0, 0, 2, 0, 0]


def test_likelihood_agrees_with_scikit_learn(drawn):
    p, target = drawn
    assert scores.negative_log_likelihood(p, target) == pytest.approx(log_loss(target, p), rel=1e-12)


def test_known_values_of_two_predictions():
    p = torch.tensor([[0.8, 0.2], [0.8, 0.2]])
    target = torch.tensor([0, 1])
    assert scores.negative_log_likelihood(p, target) == pytest.approx(
        -(math.log(0.8) + math.log(0.2)) / 2, rel=1e-6
    )
    assert scores.brier_score(p, target) == pytest.approx((0.08 + 1.28) / 2, rel=1e-6)
    assert scores.equal_width_bins(p, target).error == pytest.approx(0.3, rel=1e-6)


def test_a_wrong_certainty_is_finite():
    p = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert scores.negative_log_likelihood(p, torch.tensor([1])) == pytest.approx(-math.log(2.0**-52))


def test_bins_of_equal_mass_hold_equal_numbers(drawn):
    p, target = drawn
    bins = scores.equal_mass_bins(p, target, 15)
    assert int(bins.counts.sum()) == 500
    assert set(bins.counts.tolist()) == {33, 34}
    # by hand: samples in the order of their confidence, cut where i·15 // 500 changes
    confidence, guess = p.max(1)
    order = confidence.argsort()
    right = (guess == target).double()[order]
    parts = np.array_split(np.arange(500), np.flatnonzero(np.diff(np.arange(500) * 15 // 500)) + 1)
    error = sum(abs(float((right[i] - confidence[order][i]).sum())) for i in parts) / 500
    assert bins.error == pytest.approx(error, rel=1e-12)
    assert scores.equal_mass_bins(p[:3], target[:3], 15).counts.tolist() == [1, 1, 1]


def test_the_mean_of_draws_is_one_of_probabilities():
    logits = torch.tensor([[[4.0, 0.0]], [[0.0, 0.0]]])
    expected = (1 / (1 + math.exp(-4)) + 0.5) / 2
    assert float(scores.mean_probabilities(logits)[0, 0]) == pytest.approx(expected)


def test_temperature_finds_the_scale_that_logits_were_multiplied_with():
    source = torch.Generator().manual_seed(1)
    logits = torch.randn(20_000, 3, generator=source, dtype=torch.float64)
    target = torch.distributions.Categorical(logits=logits).sample()
    plain = scores.fit_temperature(logits[None], target)
    # the standard error of log T is about 1/√(n · variance of the logits under p), below 0.02 here
    assert math.log(plain) == pytest.approx(0, abs=0.06)
    assert scores.fit_temperature(3 * logits[None], target) == pytest.approx(3 * plain, rel=1e-4)


def test_temperature_is_where_the_likelihood_is_flat(drawn):
    p, target = drawn
    logits = p.log()[None]
    best = scores.fit_temperature(logits, target)

    def loss(t):
        return scores.negative_log_likelihood(scores.mean_probabilities(logits, t), target)

    slope = (loss(best * 1.001) - loss(best / 1.001)) / 0.002
    assert abs(slope) < 1e-4
    assert loss(best) < loss(1.0)


@pytest.fixture
def sample():
    source = torch.Generator().manual_seed(2)
    truth = torch.randn(300, 2, generator=source)
    return torch.randn(20, 300, 2, generator=source) * 1.3, truth


def test_fair_crps_against_torchmetrics(sample):
    draws, truth = sample
    biased = float(
        continuous_ranked_probability_score(draws.flatten(1).t().double(), truth.flatten().double())
    )
    # torchmetrics divides the sum over pairs by m², the fair estimate by m (m − 1)
    pairs = (draws[:, None] - draws[None]).abs().double().mean((2, 3)).sum() / 2
    expected = biased + float(pairs) / 20**2 - float(pairs) / (20 * 19)
    assert predictive.crps_of_draws(draws, truth) == pytest.approx(expected, rel=1e-6)


def test_crps_of_many_draws_tends_to_that_of_their_gaussian():
    source = torch.Generator().manual_seed(3)
    truth = torch.tensor([-0.7, 0.2, 1.5], dtype=torch.float64)
    draws = 0.5 + 2 * torch.randn(200_000, 3, generator=source, dtype=torch.float64)
    exact = predictive.crps_of_gaussian(torch.full((3,), 0.5), torch.tensor(2.0), truth)
    # the error of a mean over 2·10⁵ draws of deviation 2 is 0.005
    assert predictive.crps_of_draws(draws, truth) == pytest.approx(exact, abs=0.02)
    grid = np.linspace(-40, 40, 400_001)
    step = grid[1] - grid[0]
    by_integral = [((norm.cdf(grid, 0.5, 2) - (grid >= y)) ** 2).sum() * step for y in truth.numpy()]
    assert exact == pytest.approx(np.mean(by_integral), abs=2e-4)


def test_gaussian_likelihood_and_coverage():
    source = torch.Generator().manual_seed(4)
    mean, std = torch.zeros(50_000, 1), torch.tensor([3.0])
    truth = 3 * torch.randn(50_000, 1, generator=source)
    assert predictive.nll_of_gaussian(mean, std, truth) == pytest.approx(
        -norm.logpdf(truth.numpy(), 0, 3).mean(), rel=1e-6
    )
    for share, seen in predictive.coverage_of_gaussian(mean, std, truth).items():
        assert seen == pytest.approx(share, abs=0.01)  # √(p(1 − p)/n) is 0.002 at most
    draws = 3 * torch.randn(99, 2_000, 1, generator=source)
    seen = predictive.coverage_of_draws(draws, truth[:2_000], [0.8])[0.8]
    assert seen == pytest.approx(0.8, abs=0.04)


def test_what_was_not_observed_counts_nowhere(sample):
    draws, truth = sample
    holed = truth.clone()
    holed[::2] = torch.nan
    half, kept = draws[:, 1::2], truth[1::2]
    assert predictive.crps_of_draws(draws, holed) == predictive.crps_of_draws(half, kept)
    assert predictive.coverage_of_draws(draws, holed) == predictive.coverage_of_draws(half, kept)
    mean, std = draws.mean(0), draws.std(0)
    for score in (predictive.crps_of_gaussian, predictive.nll_of_gaussian):
        assert score(mean, std, holed) == score(mean[1::2], std[1::2], kept)


def test_sharpness_is_the_root_of_the_mean_variance():
    assert predictive.sharpness(torch.tensor([3.0, 4.0])) == pytest.approx(math.sqrt(12.5))
