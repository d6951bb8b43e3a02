"""GRU-ODE-Bayes: a bounded state, Bayes' rule, and the density of what was expected before it was read."""

import pytest
import torch
from torch import nn

from integrand.errors import UsageError
from integrand.modules.series.gaussian import divergence, negative_log_density
from integrand.modules.series.gru_ode_bayes import GRUODEBayes, GRUODEField
from integrand.modules.series.observations import truth
from integrand.series import Series
from integrand.solvers import Dopri5, Euler
from integrand.spec import Forecast

F64 = torch.float64


def build(spec, **kwargs):
    torch.manual_seed(0)
    return GRUODEBayes(spec, **kwargs).double()


def test_densities_and_divergences_are_those_of_gaussians():
    g = torch.Generator().manual_seed(0)
    mean, other, x = torch.randn(3, 5, generator=g, dtype=F64)
    log_var, other_log_var = torch.randn(2, 5, generator=g, dtype=F64)
    p = torch.distributions.Normal(mean, torch.exp(0.5 * log_var))
    q = torch.distributions.Normal(other, torch.exp(0.5 * other_log_var))
    torch.testing.assert_close(
        divergence(mean, log_var, other, other_log_var), torch.distributions.kl_divergence(p, q)
    )
    assert divergence(mean, log_var, mean, log_var).abs().max() < 1e-15
    x[0] = torch.nan
    found = negative_log_density(x, mean, log_var)
    torch.testing.assert_close(found[1:], -p.log_prob(x.nan_to_num())[1:])
    assert found[0].isnan()


@pytest.mark.parametrize("solver", [Euler(step_size=1.0), Dopri5(rtol=1e-8, atol=1e-8)])
def test_the_state_stays_bounded(solver):
    """A convex combination of h and u under Euler's method with steps of 1 at most, and the equation itself."""
    torch.manual_seed(0)
    field = GRUODEField(6).double()
    for p in field.parameters():
        p.data *= 20
    h0 = torch.randint(2, (50, 6)).double() * 2 - 1  # at the corners
    ys = solver.solve(field, h0, [0.0, 0.5, 3.0, 30.0]).ys
    assert ys.abs().max() <= 1.0 + 1e-7
    assert (ys[-1] - h0).abs().max() > 0.5


def test_the_field_is_the_continuous_gru():
    """GRU(h) − h of the discrete cell without inputs, in torch's parametrisation of the gates but the reset's place."""
    torch.manual_seed(0)
    field = GRUODEField(3).double()
    h = torch.tanh(torch.randn(4, 3, dtype=F64))
    r, z = torch.sigmoid(h @ field.gates.weight.T + field.gates.bias).chunk(2, 1)
    u = torch.tanh((r * h) @ field.candidate.weight.T + field.candidate.bias)
    torch.testing.assert_close(field(torch.tensor(0.0), h), z * h + (1 - z) * u - h)


def test_the_divergence_behind_an_observation_is_from_bayes_rule(series, series_spec):
    """Conditioning N(μ, v) on x = state + noise, by the Kalman gain."""
    module = build(series_spec(Forecast(9, 4)), noise=0.3)
    x = series()
    found = module.filter(x)
    (mean, log_var), after = found.before, found.after
    gain = log_var.exp() / (log_var.exp() + 0.09)
    posterior_mean = mean + gain * (x.values - mean)
    posterior_log_var = torch.log((1 - gain) * log_var.exp())
    expected = divergence(posterior_mean, posterior_log_var, *after)[x.mask].mean()
    torch.testing.assert_close(module.update_loss(found, x), expected)


def test_the_density_is_of_what_was_expected_before_reading(series, series_spec, ask):
    module = build(series_spec(Forecast(9, 4)))
    x = series((9, 9))
    changed = Series(x.times, x.values.clone(), x.mask, x.lengths, x.static)
    changed.values[:, -1] += 3.0 * x.mask[:, -1]
    first, second = module.filter(x), module.filter(changed)
    for a, b in zip(first.before, second.before, strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.after[0], second.after[0])
    query = ask(x)
    outcome = module.eval().step((x, query), "val")
    given = negative_log_density(truth(x), *first.before)
    asked = outcome.scores["nll"] * query.mask.sum()
    expected = (torch.where(x.mask, given, 0.0).sum() + asked) / (x.mask.sum() + query.mask.sum())
    # times asked for split no gap that was there before
    torch.testing.assert_close(outcome.terms["loss"], expected)


def test_draws_are_of_the_gaussian_that_is_said(series, series_spec, ask):
    module = build(series_spec(Forecast(9, 2)), draws=20_000).eval()
    x = series((4,))
    query = ask(x, horizon=2, missing=0.0)
    torch.manual_seed(0)
    outcome = module.step((x, query), "val")
    law = torch.distributions.Normal(outcome.draws.mean(0), outcome.draws.std(0))
    # 20,000 draws: mean to σ/141, σ to 0.5 %; four standard errors
    torch.testing.assert_close(law.mean, outcome.prediction, rtol=0, atol=4 * float(law.stddev.max()) / 141)
    assert outcome.scores["nll"] == pytest.approx(float(-law.log_prob(query.values).mean()), rel=0.03)


def test_the_order_of_channels_at_one_time_does_not_matter(series, series_spec):
    module = build(series_spec())
    x = series()
    order = torch.tensor([2, 0, 1])
    other = build(series_spec())
    other.load_state_dict(module.state_dict())
    other.jump.weight.data, other.jump.bias.data = (
        module.jump.weight.data[order],
        module.jump.bias.data[order],
    )
    prep = module.jump.weight.shape[-1]
    columns = (order[:, None] * prep + torch.arange(prep)).flatten()
    other.jump.cell.weight_ih.data = module.jump.cell.weight_ih.data[:, columns]
    outputs = torch.cat((order, order + 3))
    other.expect[-1].weight.data = module.expect[-1].weight.data[outputs]
    other.expect[-1].bias.data = module.expect[-1].bias.data[outputs]
    turned = Series(x.times, x.values[..., order], x.mask[..., order], x.lengths, x.static)
    torch.testing.assert_close(other(turned), module(x))


def test_what_was_not_observed_does_not_enter_the_jump(series_spec):
    module = build(series_spec())
    h, x, mean, log_var = torch.randn(4, 2, 3, dtype=F64)
    h = torch.zeros(2, 32, dtype=F64)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    jumped = module.jump(h, x, mask, mean, log_var, torch.zeros(2, 0, dtype=F64))
    again = module.jump(h, x + 5.0 * ~mask, mask, mean, log_var, torch.zeros(2, 0, dtype=F64))
    assert torch.equal(jumped, again)
    assert torch.equal(jumped[1], h[1])
    assert not torch.equal(jumped[0], h[0])


def test_the_density_of_data_without_noise_has_a_bound(series_spec):
    module = build(series_spec(Forecast(9, 4)))
    nn.init.constant_(module.expect[-1].bias, -1e3)
    _, log_var = module.expected(torch.zeros(1, 32, dtype=F64))
    assert log_var.exp().min().item() == pytest.approx(1e-4)


@pytest.mark.parametrize("options", [{"draws": 0}, {"joint": 0.0}, {"noise": 0.0}, {"update_weight": -1.0}])
def test_options_out_of_their_domain_are_refused(options, series_spec):
    with pytest.raises(UsageError, match="give positive numbers"):
        build(series_spec(), **options)
