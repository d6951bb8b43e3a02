"""Latent SDE: its divergence in closed form, its bound, torchsde on equal weights, and independence."""

import math

import pytest
import torch
import torchsde
from torch import nn

from integrand.errors import UsageError
from integrand.modules.series.backward_reader import BackwardReader
from integrand.modules.series.latent_equations import ComponentNet, LatentNets, Posterior
from integrand.modules.series.latent_sde import LatentSDE, together
from integrand.modules.series.lockstep_sde import PathNormals, solve_lockstep, solve_lockstep_logqp
from integrand.series import Query, Series
from integrand.spec import Density, Forecast, SeriesSpec

F64 = torch.float64


def build(**kwargs):
    torch.manual_seed(0)
    spec = SeriesSpec("made-up", Forecast(9, 4), channels=3, length=9, missing=True)
    return LatentSDE(spec, channels=4, context=5, hidden=6, **kwargs).double()


def asked(x, seed=3):
    g = torch.Generator().manual_seed(seed)
    times = x.times[:, -1:] + torch.arange(4, dtype=F64) * 0.3
    return Query(
        times, torch.randn(len(x), 4, 3, generator=g, dtype=F64), torch.rand(len(x), 4, 3, generator=g) < 0.8
    )


class OrnsteinUhlenbeck(nn.Module):
    """Prior dy = −θy dt + σ dW, posterior dy = σ dW."""

    def __init__(self, theta=1.0, sigma=0.5):
        super().__init__()
        self.theta, self.sigma = theta, sigma

    def enter(self, interval, place):
        pass

    def f(self, t, y):
        return torch.zeros_like(y)

    def h(self, t, y):
        return -self.theta * y

    def g(self, t, y):
        return torch.full_like(y, self.sigma)


def test_the_divergence_of_ornstein_uhlenbeck_is_that_in_closed_form():
    """From the stationary law E ½∫(θy/σ)² dt = θT/4 + θ²T²/4 = 1.5 at T = 2, on times of one's own."""
    n, paths = 81, 8192
    torch.manual_seed(0)
    gaps = torch.rand(paths, n - 1, dtype=F64) + 0.5
    knots = torch.cat((torch.zeros(paths, 1, dtype=F64), gaps.cumsum(1)), 1)
    knots = 2 * knots / knots[:, -1:]
    y0 = math.sqrt(0.125) * torch.randn(paths, 1, dtype=F64)
    _, kl = solve_lockstep_logqp(OrnsteinUhlenbeck(), knots, y0)
    # the left ends of 80 gaps miss θ²T²/2 · h/T = 0.025 of it
    missed = 2 * (gaps / gaps.sum(1, keepdim=True)).square().sum(1).mean().item()
    assert abs(kl.mean().item() + missed - 1.5) < 4 * kl.std().item() / math.sqrt(paths)


def test_equal_drifts_do_not_diverge(series):
    module = build()
    nn.init.zeros_(module.nets.control.rest[-1].weight)
    nn.init.zeros_(module.nets.control.rest[-1].bias)
    nn.init.zeros_(module.start.weight)
    with torch.no_grad():
        module.start.bias[:4] = 0.0
        module.start.bias[4:] = math.log(math.e - 1)
        module.prior_log_std.fill_(math.log(1 + 1e-4))
    found, _, _ = module.bound(series())
    torch.testing.assert_close(found["kl"], torch.zeros(4, dtype=F64), rtol=0, atol=1e-12)


def test_the_bound_lies_below_the_log_likelihood_by_the_divergence_of_the_posterior():
    """Of one observation: no path, x = W z₀ + b + ε, everything Gaussian."""
    module = build(noise=0.7)
    n = 20000
    values = torch.tensor([0.4, -0.3, 1.1], dtype=F64)
    x = Series(
        torch.zeros(n, 1, dtype=F64),
        values.expand(n, 1, 3),
        torch.ones(n, 1, 3, dtype=torch.bool),
        torch.ones(n, dtype=torch.int64),
        torch.zeros(n, 0, dtype=F64),
    )
    with torch.no_grad():
        module.prior_mean.copy_(torch.linspace(-1, 1, 4))
        found, _, _ = module.bound(x)
        _, mean, std, _ = module.posterior(x[:1])
        w, noise = module.head.weight, 0.49 * torch.eye(3, dtype=F64)
        prior = torch.distributions.MultivariateNormal(module.prior_mean, torch.eye(4, dtype=F64))
        marginal = torch.distributions.MultivariateNormal(
            w @ module.prior_mean + module.head.bias, w @ w.T + noise
        )
        # z | x of a linear Gaussian model
        precision = torch.eye(4, dtype=F64) + w.T @ w / 0.49
        centre = torch.linalg.solve(precision, module.prior_mean + w.T @ (values - module.head.bias) / 0.49)
        exact = torch.distributions.MultivariateNormal(centre, precision_matrix=precision)
        q = torch.distributions.MultivariateNormal(mean[0], torch.diag(std[0] ** 2))
        gap = torch.distributions.kl_divergence(q, exact)
    assert prior.event_shape == (4,)
    bound = found["log_likelihood"] - found["kl"]
    expected = marginal.log_prob(values) - gap
    assert gap > 0.1
    assert abs((bound.mean() - expected).item()) < 4 * bound.std().item() / math.sqrt(n)


class Recorded:
    """The same increments for torchsde, whose times are those of the equation."""

    def __init__(self, normals, h):
        self.normals, self.h = normals, h
        # one more component for the divergence
        self.shape, self.dtype, self.device, self.levy_area_approximation = (3, 5), F64, "cpu", "none"

    def __call__(self, ta, tb=None):
        step = round(float(ta) / self.h)
        return nn.functional.pad(math.sqrt(self.h) * self.normals.normals(step)[0], (0, 1))


class Led(nn.Module):
    """A module's posterior in torchsde's convention."""

    noise_type, sde_type = "diagonal", "ito"

    def __init__(self, equation, h):
        super().__init__()
        self.equation, self.gap = equation, h

    def f(self, t, y):
        self.equation.enter(int(float(t) / self.gap + 1e-6), 0.0)
        return self.equation.f(t, y)

    def g(self, t, y):
        return self.equation.g(t, y)

    def h(self, t, y):
        return self.equation.h(t, y)


def test_agrees_with_torchsde_on_equal_weights_and_noise(series):
    module = build()
    x = series((9, 9, 9))
    gap = 0.25
    x.times = gap * module.unit * torch.arange(9, dtype=F64).expand(3, -1)
    equation, z0, _, knots = module.posterior(x)
    noise = PathNormals(1, 3, z0, seed=5)
    ours, kl = solve_lockstep_logqp(equation, knots, z0, noise=noise)
    theirs, steps = torchsde.sdeint(
        Led(equation, gap),
        z0,
        gap * torch.arange(9, dtype=F64),
        bm=Recorded(noise, gap),
        method="euler",
        dt=gap,
        logqp=True,
    )
    assert kl.min() > 0
    torch.testing.assert_close(ours.ys, theirs, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(kl, steps.sum(0), rtol=1e-10, atol=1e-10)


def test_a_forecast_depends_on_neither_padding_nor_company(series, same_alone):
    module = build()
    x = series()
    end = x.end.clone()

    def said(part):
        return module(part, part.end[:, None] + torch.tensor([0.0, 0.4, 2.0], dtype=F64))

    same_alone(said, x, rtol=1e-10, atol=1e-10)
    assert torch.equal(x.end, end)


def test_other_times_asked_for_do_not_change_what_is_read(series):
    """The reader passes over times at which nothing was observed."""
    torch.manual_seed(0)
    reader = BackwardReader(3, 0, 5, 1.0).double()
    x = series((6, 4), missing=0.0)
    known, ahead = reader(x)
    assert ahead.tolist() == [[6, 5, 4, 3, 2, 1], [4, 3, 2, 1, 0, 0]]
    assert not known[1, 4:].any()
    holes = Series(x.times, x.values.clone(), x.mask.clone(), x.lengths, x.static)
    holes.mask[:, 2], holes.values[:, 2] = False, 0.0
    left = [0, 1, 3, 4, 5]
    without = Series(x.times[:, left], x.values[:, left], x.mask[:, left], x.lengths - 1, x.static)
    torch.testing.assert_close(reader(holes)[0][:, left], reader(without)[0])


def test_what_lies_behind_an_observation_does_not_lead_the_path_to_it(series):
    """On the way to observation i the encoder's state at i counts: it has read i and what follows."""
    module = build()
    equation, _, _, knots = module.posterior(series((4, 4), missing=0.0))
    equation.enter(1, 0.0)
    z = torch.zeros(2, 4, dtype=F64)
    t = knots[:, 1:2] + 0.1
    left = (knots[:, 2:3] - t) / module.nets.gap
    u = module.nets.control(torch.cat((z, left), 1), module.nets.control.known(equation.known[:, 2]))
    expected = module.nets.prior(z) + module.nets.diffusion(z) * u
    torch.testing.assert_close(equation.f(t, z), expected)
    behind = module.posterior(together_with_nothing(series((4, 4), missing=0.0)))[0]
    behind.enter(3, 0.0)
    torch.testing.assert_close(behind.f(t, z), behind.h(t, z), rtol=0, atol=0)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("tells_time", [False, True])
def test_coefficients_side_by_side_are_those_of_each_network(depth, tells_time):
    """In value and in the gradient of every weight."""
    torch.manual_seed(0)
    nets = LatentNets(4, 5, 6, depth, tells_time, 0.5).double()
    with torch.no_grad():  # as large as the others
        nets.control.rest[-1].weight.mul_(100.0)
    known, y = torch.randn(3, 7, 5, dtype=F64), torch.randn(3, 4, dtype=F64)
    knots = torch.rand(3, 7, dtype=F64).sort(dim=1).values
    t, ahead = knots[:, 2:3] + 0.01, torch.arange(7, 0, -1).expand(3, -1)
    equation = Posterior(nets, known, ahead, knots)
    equation.enter(2, 0.0)
    said = (equation.f(t, y), equation.h(t, y), equation.g(t, y), equation.u(t, y))
    told = torch.cat((y, t), 1) if tells_time else y
    left = (knots[:, 3:4] - t) / 0.5
    u = nets.control(torch.cat((told, left), 1), nets.control.known(known[:, 3]))
    h, g = nets.prior(told), nets.diffusion(y)
    apart = (h + g * u, h, g, u)
    for a, b in zip(said, apart, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    weight = torch.randn(3, 4, dtype=F64)
    ours, theirs = (
        torch.autograd.grad(
            sum((weight * (i + 1) * part).sum() for i, part in enumerate(parts)), nets.parameters()
        )
        for parts in (said, apart)
    )
    for (name, _), a, b in zip(nets.named_parameters(), ours, theirs, strict=True):
        assert b.abs().sum() > 0, name
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10, msg=name)


def test_the_divergence_added_up_afterwards_is_that_of_the_solver(series):
    """`checkpoint` integrates it as one more component of the state; steps of unequal length, padding."""
    found = []
    for gradient in ("backprop", "checkpoint"):
        module, x = build(gradient=gradient, steps=3), series()
        torch.manual_seed(1)
        terms, _, solution = module.bound(x)
        gradients = torch.autograd.grad(
            terms["kl"].sum(), [p for p in module.parameters() if p.requires_grad], allow_unused=True
        )
        found.append((terms["kl"], solution.ys, *(g for g in gradients if g is not None)))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_the_control_is_told_when_the_next_observation_comes(series):
    """At knots without an observation that of the next one counts; behind the last there is none."""
    module = build()
    x = series((5, 3), missing=0.0)
    x.mask[:, 1], x.values[:, 1] = False, 0.0
    equation, _, _, knots = module.posterior(x)
    arrival = torch.stack(equation.arrival, 1)[..., 0] * module.nets.gap
    torch.testing.assert_close(arrival[0], knots[0, [0, 2, 2, 3, 4]])
    torch.testing.assert_close(arrival[1, :3], knots[1, [0, 2, 2]])


def together_with_nothing(x):
    later = x.times[:, -1:] + 1.0
    nothing = torch.zeros(len(x), 1, 3, dtype=F64)
    return together(x, Query(later, nothing, nothing > 0))[0]


def test_the_diffusion_of_a_component_depends_on_it_alone():
    torch.manual_seed(0)
    net = ComponentNet(3, 5).double()
    z = torch.randn(3, dtype=F64)
    jacobian = torch.autograd.functional.jacobian(lambda z: net(z[None])[0], z)
    assert torch.equal(jacobian, torch.diag(jacobian.diagonal()))
    assert (jacobian.diagonal() != 0).all()


def test_draws_are_the_same_paths_for_every_batch_and_differ_among_themselves():
    two, one = torch.zeros(1, 2), torch.zeros(1, 1)
    normals, wide = PathNormals(3, 1, two, 0), PathNormals(3, 4, two, 0)
    z, w = normals.normals(5)[0], wide.normals(5)[0].view(3, 4, 2)
    assert torch.equal(w[:, 2], z)
    assert len({*z.flatten().tolist(), *normals.normals(6)[0].flatten().tolist()}) == 12
    many = PathNormals(1, 1, one, 0)
    sample = torch.stack([many.normals(i)[0] for i in range(4000)]).flatten()
    # two moments within four standard errors
    assert abs(sample.mean().item()) < 4 / math.sqrt(4000)
    assert abs(sample.var().item() - 1) < 4 * math.sqrt(2 / 4000)
    assert abs((sample[1:] * sample[:-1]).mean().item()) < 4 / math.sqrt(4000)


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
def test_gradients_reach_every_parameter(gradient, series):
    module = build(gradient=gradient)
    x = series()
    torch.manual_seed(1)
    outcome = module.step((x, asked(x)), "train")
    outcome.loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_an_evaluation_forecasts_from_what_is_given(series):
    module = build(draws=5)
    x = series()
    query = asked(x)
    outcome = module.step((x, query), "val")
    assert outcome.draws.shape == (5, 4, 4, 3)
    torch.testing.assert_close(outcome.prediction, module(x, query.times))
    query.values.add_(100.0)
    torch.testing.assert_close(module.step((x, query), "val").prediction, outcome.prediction)
    assert module.step((x, query), "val").loss > outcome.loss


def test_the_divergence_is_brought_in_slowly(series):
    module = build(anneal=10, kl_weight=2.0)
    assert module._weight() == 2.0
    module._trainer = type("Trainer", (), {"global_step": 5})()
    assert module._weight() == 1.0


class Constant(nn.Module):
    """σ for every component."""

    def __init__(self, sigma):
        super().__init__()
        self.sigma = sigma

    def forward(self, z):
        return torch.full_like(z, self.sigma)


def test_paths_of_the_prior_have_the_moments_of_its_equation():
    """dz = −z dt + σ dW by Euler's steps of h, x = z + noise: z_k = (1 − h) z_{k−1} + σ √h ε in closed form."""
    spec = SeriesSpec("paths", Density(), channels=1, length=5, step=0.5)
    module = LatentSDE(spec, channels=1, context=3, duration=2.0, steps=1, noise=0.3).double()
    layer = nn.Linear(1, 1, bias=False, dtype=F64)
    nn.init.constant_(layer.weight, -1.0)
    module.nets.prior, module.nets.diffusion = layer, Constant(0.6)
    with torch.no_grad():
        module.prior_mean.fill_(1.0)
        module.prior_log_std.fill_(math.log(0.2))
        module.head.weight.fill_(1.0)
        module.head.bias.zero_()
    n = 20000
    paths, solution = module.draw_prior(n, seed=4)
    assert paths.shape == (n, 5, 1)
    assert solution.stats.nfe_forward == 4
    mean, var = 1.0, 0.04
    for k in range(5):
        seen = var + 0.09
        # four standard errors
        assert abs(paths[:, k].mean().item() - mean) < 4 * math.sqrt(seen / n), k
        assert abs(paths[:, k].var().item() - seen) < 4 * seen * math.sqrt(2 / n), k
        mean, var = 0.5 * mean, 0.25 * var + 0.36 * 0.5
    assert torch.equal(module.sample(n, seed=4), paths)


def test_the_bound_of_many_paths_is_the_likelihood_of_the_chain():
    """dz = −z dt + σ dW by Euler's steps, seen with noise: all is jointly normal, whatever leads the paths."""
    spec = SeriesSpec("paths", Density(), channels=1, length=3, step=0.5)
    torch.manual_seed(3)
    steps, sigma, noise, count = 2, 0.6, 0.4, 20000
    module = LatentSDE(spec, channels=1, context=3, duration=1.0, steps=steps, noise=noise, samples=count)
    module = module.double()
    with torch.no_grad():
        # silu(z) − silu(−z) = z, so that the prior's perceptron is −z
        first, second, last = (layer for layer in module.nets.prior if isinstance(layer, nn.Linear))
        for parameter in module.nets.prior.parameters():
            parameter.zero_()
        first.weight[:2, 0] = torch.tensor([1.0, -1.0], dtype=F64)
        last.weight[0, :2] = torch.tensor([-1.0, 1.0], dtype=F64)
        second.weight[:2, :2] = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=F64)
        module.nets.diffusion.second.zero_()
        module.nets.diffusion.offset.fill_(math.log(sigma / (1 - sigma)))
        module.prior_mean.fill_(0.5)
        module.prior_log_std.fill_(math.log(0.3))
        module.start.weight.mul_(0.1)
        module.start.bias.copy_(torch.tensor([0.4, math.log(math.expm1(0.35))]))
        module.nets.control.rest[-1].weight.mul_(200.0)
        module.head.weight.fill_(1.0)
        module.head.bias.zero_()
        times = torch.tensor([[0.0, 0.4, 1.0]], dtype=F64)
        values = torch.tensor([0.7, -0.2, 0.3], dtype=F64)
        mask = torch.ones(1, 3, 1, dtype=torch.bool)
        x = Series(times, values.view(1, 3, 1), mask, torch.tensor([3]), torch.zeros(1, 0, dtype=F64))
        found, _, _ = module.bound(x)
        module.samples = 1
        loose = torch.stack(
            [single["log_likelihood"] - single["kl"] for single, _, _ in map(module.bound, [x] * 50)]
        )
    # z_k+1 = (1 − h) z_k + σ √h ε, h = gap/steps
    means, keep, var = [0.5], [1.0], [0.09]
    for gap in (0.4, 0.6):
        h, kept = gap / steps, 1.0
        mean, v = means[-1], var[-1]
        for _ in range(steps):
            mean, v, kept = (1 - h) * mean, (1 - h) ** 2 * v + sigma**2 * h, (1 - h) * kept
        means, var, keep = [*means, mean], [*var, v], [*keep, kept]
    covariance = torch.diag(torch.tensor(var, dtype=F64))
    for i in range(3):
        for j in range(i + 1, 3):
            covariance[i, j] = covariance[j, i] = var[i] * math.prod(keep[i + 1 : j + 1])
    law = torch.distributions.MultivariateNormal(
        torch.tensor(means, dtype=F64), covariance + noise**2 * torch.eye(3, dtype=F64)
    )
    bound = (found["log_likelihood"] - found["kl"]).item()
    # weights of a relative deviation of about 1, over √20,000
    assert bound == pytest.approx(law.log_prob(values).item(), abs=0.03)
    assert loose.mean().item() < bound - 0.05


def test_many_paths_go_without_a_weight_of_the_divergence():
    with pytest.raises(UsageError, match="leave the others out"):
        build(samples=2, anneal=5)


def test_an_evaluation_of_paths_compares_the_prior_with_data(series):
    torch.manual_seed(0)
    spec = SeriesSpec("paths", Density(), channels=3, length=6, step=0.5)
    module = LatentSDE(spec, channels=4, context=5, hidden=6).double()
    x = series((6, 6, 6), missing=0.0)
    assert module.step((x,), "train").prediction is None
    first, second = module.step((x,), "val"), module.step((x,), "val")
    assert first.prediction.shape == first.target.shape == (3, 6, 3)
    assert not torch.equal(first.prediction, second.prediction)
    module.on_validation_epoch_start()
    assert torch.equal(module.step((x,), "val").prediction, first.prediction)


def test_steps_between_times_refine_the_solve(series):
    """Drift alone: Euler's error falls with the step, to the exact exponential."""
    knots = torch.tensor([[0.0, 1.0]], dtype=F64)
    sde = OrnsteinUhlenbeck(sigma=0.0)
    sde.f = sde.h
    y0 = torch.ones(1, 1, dtype=F64)
    errors = [abs(solve_lockstep(sde, knots, y0, steps=s).ys[-1].item() - math.exp(-1)) for s in (8, 16)]
    assert errors[0] / errors[1] == pytest.approx(2.0, abs=0.15)


def test_settings_out_of_their_domains_are_refused():
    with pytest.raises(UsageError, match="give positive numbers"):
        build(draws=0)
