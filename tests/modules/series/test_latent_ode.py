"""Latent ODE: bounds against the exact density of a linear Gaussian model, and what the encoder reads."""

import math

import pytest
import torch
from torch import nn

from integrand.errors import UsageError
from integrand.modules.series.latent_ode import LatentODE, Posterior, importance_weighted
from integrand.modules.series.observations import reverse, told, truth
from integrand.series import Query, Series
from integrand.solvers import Dopri5, odeint
from integrand.spec import Forecast

F64 = torch.float64
TIGHT = Dopri5(rtol=1e-9, atol=1e-9)


class Linear(nn.Module):
    """f(t, z) = A z."""

    def __init__(self, matrix):
        super().__init__()
        self.register_buffer("matrix", matrix)

    def forward(self, t, z):
        return z @ self.matrix.T


def build(spec, **kwargs):
    torch.manual_seed(0)
    return LatentODE(spec, **kwargs).double()


def linear_gaussian(spec, noise=0.5):
    """A latent ODE whose density is known: z₀ ~ N(0, 1), ż = A z, x = B z + noise."""
    module = build(spec, latent=2, noise=noise, solver=TIGHT, unit=1.0)
    module.field = Linear(torch.tensor([[-0.1, 1.0], [-1.0, -0.2]], dtype=F64))
    module.decoder = nn.Linear(2, spec.channels, bias=False).double()
    return module


def exact(module, x):
    """log p of one series, and the posterior of z₀, by Gaussian conditioning."""
    times = x.times[0] - x.times[0, 0]
    flow = torch.matrix_exp(module.field.matrix * times[:, None, None])
    design = (module.decoder.weight @ flow)[x.mask[0]]
    values = x.values[0][x.mask[0]]
    variance = float(module.noise[0]) ** 2
    covariance = design @ design.T + variance * torch.eye(len(values), dtype=F64)
    law = torch.distributions.MultivariateNormal(torch.zeros(len(values), dtype=F64), covariance)
    precision = torch.eye(2, dtype=F64) + design.T @ design / variance
    spread = torch.linalg.inv(precision)
    return law.log_prob(values), spread @ design.T @ values / variance, spread


@pytest.fixture
def problem(series, series_spec):
    spec = series_spec(Forecast(5, 1))
    return linear_gaussian(spec), series((5,))


def bounds(module, x, posterior, draws=4000):
    torch.manual_seed(1)
    z0 = posterior.draw(draws)
    means, _ = module.decode(z0, x.times[:, 0], x.times)
    return {name: v.item() for name, v in module.bounds(means, z0, posterior, truth(x)).items()}


def test_elbo_and_iwae_are_bounds_of_the_density(problem):
    module, x = problem
    log_p, mean, spread = exact(module, x)
    off = Posterior(mean[None] + 0.2, 1.3 * spread.diagonal().sqrt()[None], [])
    found = bounds(module, x, off)
    # exact: E log p(x|z) − KL = log p − KL(q ‖ p(z|x)); the standard error of 4000 draws is about 0.03
    q = torch.distributions.MultivariateNormal(off.mean[0], torch.diag(off.std[0] ** 2))
    gap = torch.distributions.kl_divergence(q, torch.distributions.MultivariateNormal(mean, spread))
    assert gap > 0.2
    assert found["elbo"] == pytest.approx((log_p - gap).item(), abs=0.1)
    assert found["iwae"] == pytest.approx(log_p.item(), abs=0.05)
    assert found["elbo"] < found["iwae"] < log_p.item() + 0.05


def test_the_bounds_are_ordered_for_the_same_draws(problem):
    """E log w ≤ log E w; with the analytic divergence only in the mean."""
    log_w = torch.randn(7, 5, dtype=F64, generator=torch.Generator().manual_seed(0))
    assert (log_w.mean(0) < importance_weighted(log_w)).all()
    assert (importance_weighted(log_w) < log_w.amax(0)).all()
    torch.testing.assert_close(importance_weighted(log_w[:1]), log_w[0])


def test_the_divergence_is_that_of_gaussians_and_vanishes_at_the_prior():
    g = torch.Generator().manual_seed(0)
    mean, std = torch.randn(3, 4, generator=g, dtype=F64), torch.rand(3, 4, generator=g, dtype=F64) + 0.1
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, std), normal(0.0, 1.0)).sum(-1)
    posterior = Posterior(mean, std, [])
    torch.testing.assert_close(posterior.divergence(), expected)
    z = posterior.draw(2)
    ratio = normal(torch.zeros_like(mean), 1.0).log_prob(z) - normal(mean, std).log_prob(z)
    torch.testing.assert_close(posterior.log_ratio(z), ratio.sum(-1))
    prior = Posterior(torch.zeros(1, 4, dtype=F64), torch.ones(1, 4, dtype=F64), [])
    assert prior.divergence().item() == 0.0


def test_the_likelihood_is_a_sum_over_what_was_observed(series, series_spec):
    module = build(series_spec(Forecast(9, 4)))
    x = series()
    said = torch.randn(2, 4, 9, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
    law = torch.distributions.Normal(said, module.noise)
    expected = torch.where(x.mask, law.log_prob(x.values), 0.0).sum((-2, -1))
    torch.testing.assert_close(module.log_likelihood(said, truth(x)), expected)


def test_what_is_decoded_at_the_start_is_z0_and_later_what_it_flows_to(series, series_spec):
    module = build(series_spec(Forecast(9, 4)), latent=4, solver=TIGHT)
    for p in module.field.parameters():
        p.data *= 2
    start = torch.tensor([1.0, 5.0], dtype=F64)
    times = start[:, None] + torch.tensor([[7.0, 0.0, 3.0], [2.0, 2.0, 0.5]], dtype=F64)
    z0 = torch.randn(2, 2, 4, dtype=F64, generator=torch.Generator().manual_seed(0))
    said, stats = module.decode(z0, start, times)
    torch.testing.assert_close(said[:, 0, 1], module.decoder(z0[:, 0]))
    torch.testing.assert_close(said[1, 1, 0], said[1, 1, 1])  # the same time twice
    ending = odeint(module.field, z0[1, 1:], [0.0, 2.0 / module.unit], rtol=1e-9, atol=1e-9)[-1]
    # two adaptive solves at 1e-9
    torch.testing.assert_close(said[1, 1, 1], module.decoder(ending)[0], rtol=1e-6, atol=1e-6)
    assert (ending - z0[1, 1]).abs().max() > 1e-2
    assert stats.nfe_forward > 0


@pytest.mark.parametrize("encoder", ["ode_rnn", "gru"])
def test_shifted_times_change_nothing_where_only_gaps_matter(encoder, series, series_spec, ask):
    module = build(series_spec(Forecast(9, 4)), encoder=encoder, solver=TIGHT).eval()
    x = series()
    query = ask(x)
    later = Series(x.times + 100.0, x.values, x.mask, x.lengths, x.static)
    first, second = module(x, query.times), module(later, query.times + 100.0)
    # times near 100 resolve gaps to 1e-14, steps to 1e-9
    torch.testing.assert_close(first, second, rtol=1e-7, atol=1e-7)


def test_the_encoder_of_one_observation_is_one_update_of_its_cell(series, series_spec):
    module = build(series_spec(Forecast(1, 4)))
    x = series((1, 1))
    recurrence = module.encoder.recurrence
    h = recurrence.cell(told(x)[:, 0], torch.zeros(2, 32, dtype=F64))
    torch.testing.assert_close(module.encoder(x).mean, module.encoder.posterior(h)[:, :8])


def test_the_encoder_reads_from_the_end_to_the_beginning(series, series_spec):
    """The first observation is read last, at its own time; by hand, one series at a time."""
    module = build(series_spec(Forecast(9, 4)), encoder_solver=Dopri5(rtol=1e-9, atol=1e-9))
    for p in module.encoder.recurrence.field.parameters():
        p.data *= 2
    x = series()
    recurrence = module.encoder.recurrence
    for b, n in enumerate(x.lengths.tolist()):
        h = torch.zeros(1, 32, dtype=F64)
        for i in reversed(range(n)):
            if i < n - 1:
                span = [float(x.times[b, i + 1]) / module.unit, float(x.times[b, i]) / module.unit]
                h = odeint(recurrence.field, h, span, rtol=1e-9, atol=1e-9)[-1]
            if x.mask[b, i].any():
                h = recurrence.cell(told(x)[b : b + 1, i], h)
        mean = module.encoder.posterior(h)[0, :8]
        torch.testing.assert_close(module.encoder(x).mean[b], mean, rtol=1e-6, atol=1e-6)
    assert (reverse(x).gaps <= 0).all()


def test_the_loss_is_minus_the_bound_of_all_observations(series, series_spec, ask):
    """Given and asked for alike; by hand on the same draws."""
    module = build(series_spec(Forecast(9, 4)), kl_weight=0.5).eval()
    x = series()
    query = ask(x)
    torch.manual_seed(3)
    outcome = module.train().step((x, query), "train")
    torch.manual_seed(3)
    posterior = module.encoder(x)
    z0 = posterior.draw(1)
    log_p = torch.zeros(len(x), dtype=F64)
    for times, values, mask in ((x.times, x.values, x.mask), (query.times, query.values, query.mask)):
        law = torch.distributions.Normal(module.decode(z0, x.times[:, 0], times)[0][0], module.noise)
        log_p += torch.where(mask, law.log_prob(values), 0.0).sum((-2, -1))
    expected = -(log_p - 0.5 * posterior.divergence()).mean()
    # other outputs do not change the steps of adaptive solves, but their last time does: tolerance 1e-3
    torch.testing.assert_close(outcome.terms["loss"], expected, rtol=2e-2, atol=0.0)
    assert outcome.scores["elbo"] == pytest.approx(float(-outcome.loss - 0.5 * outcome.scores["kl"]))
    evaluated = module.eval().step((x, query), "val")
    assert set(evaluated.scores) == {"elbo", "kl", "iwae"}
    torch.testing.assert_close(evaluated.prediction, module(x, query.times), rtol=1e-2, atol=1e-2)


def test_draws_have_the_spread_of_posterior_and_noise(problem, ask):
    module, x = problem
    module.num_draws = 4000
    query = ask(x, horizon=1)
    posterior = Posterior(torch.tensor([[0.3, -0.5]], dtype=F64), torch.tensor([[0.2, 0.4]], dtype=F64), [])
    module.encoder.forward = lambda x: posterior
    torch.manual_seed(0)
    outcome = module.eval().step((x, query), "val")
    span = float(query.times[0, 0] - x.times[0, 0])
    design = module.decoder.weight @ torch.matrix_exp(module.field.matrix * span)
    mean = design @ posterior.mean[0]
    variance = (design @ torch.diag(posterior.std[0] ** 2) @ design.T).diagonal() + 0.25
    # standard errors of 4000 draws: σ/63 of means, 2.2 % of variances; four of them
    torch.testing.assert_close(
        outcome.draws[:, 0, 0].mean(0), mean, rtol=0, atol=4 * float(variance.max().sqrt()) / 63
    )
    torch.testing.assert_close(outcome.draws[:, 0, 0].var(0), variance, rtol=0.1, atol=0)
    torch.testing.assert_close(outcome.prediction[0, 0], mean, rtol=1e-6, atol=1e-6)


def test_classes_are_learned_with_a_share_of_the_bound_for_each_value(series, series_spec):
    module = build(series_spec(), joint=0.25)
    x, y = series(), torch.tensor([0, 1, 2, 0])
    torch.manual_seed(3)
    outcome = module.train().step((x, y), "train")
    assert set(outcome.terms) == {"loss", "elbo_loss"}
    share = 0.25 * -outcome.scores["elbo"] * len(x) / x.mask.sum()
    torch.testing.assert_close(outcome.terms["elbo_loss"], share)
    torch.manual_seed(3)
    z0 = module.encoder(x).draw(1)[0]
    torch.testing.assert_close(outcome.terms["loss"], nn.functional.cross_entropy(module.head(z0), y))
    torch.testing.assert_close(module.eval()(x), module.head(module.encoder(x).mean))


def test_noise_is_learned_or_given(series_spec):
    spec = series_spec(Forecast(9, 4))
    given = build(spec, noise=0.2)
    assert not given.log_noise.requires_grad
    torch.testing.assert_close(given.noise, torch.full((3,), 0.2, dtype=F64))
    learned = build(spec)
    learned.log_noise.data.fill_(-math.inf)
    assert learned.log_noise.requires_grad
    assert (learned.noise == 0.01).all()


@pytest.mark.parametrize(
    "options", [{"draws": 0}, {"joint": 0.0}, {"noise": -1.0}, {"encoder": "lstm"}, {"unit": 0.0}]
)
def test_options_out_of_their_domain_are_refused(options, series_spec):
    with pytest.raises(UsageError):
        build(series_spec(), **options)


def test_times_within_what_is_given_are_interpolated(series, series_spec):
    module = build(series_spec(Forecast(9, 2, within=True)), solver=TIGHT)
    x = series((9, 9))
    asked = (x.times[:, 2:4] + x.times[:, 3:5]) / 2
    query = Query(asked, torch.zeros(2, 2, 3, dtype=F64), torch.ones(2, 2, 3, dtype=torch.bool))
    outcome = module.eval().step((x, query), "val")
    both, _ = module.decode(module.encoder(x).mean[None], x.times[:, 0], asked)
    torch.testing.assert_close(outcome.prediction, both[0], rtol=1e-6, atol=1e-6)
