"""Likelihood by the probability flow, against closed forms."""

import math

import pytest
import torch
from diffusion_cases import F64, normal, zero_mean_mixture
from torch.nn import functional as F

from integrand.diffusion import (
    EDM,
    VE,
    VP,
    Evaluator,
    ExactMixture,
    IncompatibleError,
    Likelihood,
    SampleNoise,
    SubVP,
)
from integrand.diffusion.samplers.probability_flow import FlowField
from integrand.solvers import Dopri5, Dopri8, EvaluationCounter

TIGHT = Dopri8(rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("process", [VP(), SubVP(), VE(), EDM()], ids=lambda p: p.describe())
@pytest.mark.parametrize("trace", ["exact", "hutchinson"])
def test_gaussian(process, trace):
    """N(m, s² I) flows by x ↦ α m + (std_T/std_0)(x − α m): latent and density are known.

    Hutchinson's estimate with ±1 probes is exact too, because the Jacobian is a multiple of the identity.
    """
    mean, std = torch.tensor([1.0, -0.5, 0.2], dtype=F64), 0.5
    model = ExactMixture(process, mean.view(1, 3), torch.tensor([std], dtype=F64))
    x = normal(6, 3)
    result = Likelihood(TIGHT, trace).log_prob(model, process, x, SampleNoise(0, x.shape, dtype=F64))
    a, b = process.node(process.t_min), process.node(process.t_max)
    ratio = math.hypot(b.alpha * std, b.sigma) / math.hypot(a.alpha * std, a.sigma)
    latent = b.alpha * mean + ratio * (x - a.alpha * mean)
    # tolerance 1e-9 relative to states of 50 to 80, over about 50 steps
    torch.testing.assert_close(result.x_T, latent, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(
        result.log_prob, process.prior_log_prob(latent) + 3 * math.log(ratio), rtol=0, atol=1e-6
    )


def test_mixture_density():
    """The density at t_min itself, as far as the prior is the marginal at t_max: e^{-10}-small on this VP."""
    process = VP(beta_max=40.0)
    model, x = zero_mean_mixture(process), normal(6, 2)
    result = Likelihood(TIGHT, "exact").log_prob(model, process, x)
    # α(t_max) = e^{-10} = 4.5e-5 scales the data's share of the last marginal
    torch.testing.assert_close(result.log_prob, model.log_prob(x, process.t_min), rtol=0, atol=2e-4)


@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
def test_hutchinson_is_unbiased(probe):
    process = VP()
    model = zero_mean_mixture(process)
    x = normal(1, 2).expand(400, 2)
    solver = Dopri5(rtol=1e-5, atol=1e-5)
    exact = Likelihood(solver, "exact").log_prob(model, process, x[:1]).log_prob
    estimate = Likelihood(solver, "hutchinson", probe).log_prob(
        model, process, x, SampleNoise(0, x.shape, dtype=F64)
    )
    values = estimate.log_prob
    error = float(values.std()) / 20
    assert error > 1e-4  # the probes do differ
    assert float(values.mean()) == pytest.approx(float(exact), abs=4.5 * error)


def test_more_probes_less_variance_and_any_batch():
    process, model = VP(), zero_mean_mixture(VP())
    x = normal(1, 2).expand(200, 2)
    solver = Dopri5(rtol=1e-5, atol=1e-5)
    noise = SampleNoise(0, x.shape, dtype=F64)
    one = Likelihood(solver, probes=1).log_prob(model, process, x, noise).log_prob
    four = Likelihood(solver, probes=4).log_prob(model, process, x, noise).log_prob
    # a variance from 200 values: 10 % error
    assert float(four.var() / one.var()) == pytest.approx(0.25, abs=0.12)
    part = SampleNoise(0, (50, 2), 150, F64)
    again = Likelihood(solver, probes=1).log_prob(model, process, x[150:], part).log_prob
    # adaptive steps follow the batch's error norm: equal to the tolerance
    torch.testing.assert_close(again, one[150:], rtol=0, atol=1e-3)


def test_nfe_and_gradient_modes():
    process, model = VP(), zero_mean_mixture(VP())
    counter = EvaluationCounter(model)
    counter.parametrisation, counter.conditional = model.parametrisation, False
    x = normal(3, 2)
    result = Likelihood(trace="exact").log_prob(counter, process, x)
    assert result.nfe == counter.calls == result.stats.nfe_forward
    assert not result.log_prob.requires_grad
    with torch.inference_mode():
        again = Likelihood(trace="exact").log_prob(model, process, x)
    torch.testing.assert_close(again.log_prob, result.log_prob)


def test_bits_per_dim():
    process, model, x = VP(), zero_mean_mixture(VP()), normal(3, 2)
    result = Likelihood(trace="exact").log_prob(model, process, x)
    torch.testing.assert_close(result.bits_per_dim(), -result.log_prob / (2 * math.log(2)))
    # pixels of 256 levels on [−1, 1]: a level is 2/256 wide, 7 bits
    torch.testing.assert_close(result.bits_per_dim(256), result.bits_per_dim() + 7)


def test_a_sample_that_fails_is_nan_alone():
    process, model, x = VP(), zero_mean_mixture(VP()), normal(3, 2)

    class Breaks:
        parametrisation, conditional = model.parametrisation, False

        def __call__(self, x, t):
            out = model(x, t)
            return torch.where(torch.tensor([[False], [True], [False]]), torch.nan, out)

    result = Likelihood(trace="exact").log_prob(Breaks(), process, x)
    assert result.log_prob.isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("variable", ["t", "log_snr"])
def test_products_of_the_flow_are_those_of_reverse_mode(variable):
    process, x, v = VP(), normal(3, 2), normal(2, 3, 2, seed=1)
    field = FlowField(Evaluator(zero_mean_mixture(process)), process, variable)
    t = torch.tensor(0.4 if variable == "t" else process.node(0.4).log_snr, dtype=F64)
    slope, products = field.linearise(t, x, v)
    torch.testing.assert_close(slope, field(t, x))
    for i, row in enumerate(x):
        J = torch.autograd.functional.jacobian(lambda z: field(t, z[None])[0], row)
        torch.testing.assert_close(products[:, i], v[:, i] @ J.T)


def test_a_network_without_forward_mode_is_refused_in_one_line():
    class Fused:
        parametrisation, conditional = zero_mean_mixture(VP()).parametrisation, False

        def __call__(self, x, t):
            rows = x.view(1, 1, *x.shape)
            return F.scaled_dot_product_attention(rows, rows, rows).view_as(x)

    x = normal(4, 8).float()
    with pytest.raises(IncompatibleError, match="no forward-mode derivative"):
        Likelihood(trace="exact").log_prob(Fused(), VP(), x)


def test_hutchinson_needs_probes():
    with pytest.raises(IncompatibleError, match="needs probes"):
        Likelihood().log_prob(zero_mean_mixture(VP()), VP(), normal(2, 2))
