"""Neural jump SDE: what it is without its parts, likelihoods in closed form, and simulated events in law."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from integrand.errors import UsageError
from integrand.modules.series.neural_jump_sde import NeuralJumpSDE
from integrand.series import Series
from integrand.solvers import Euler, solve_with_updates
from integrand.spec import Classes, Events, Forecast, SeriesSpec

F64 = torch.float64


def build(channels=1, **kwargs):
    torch.manual_seed(0)
    spec = SeriesSpec("made-up", Forecast(9, 4), channels=channels, length=9, irregular=True, step=0.5)
    return NeuralJumpSDE(spec, **{"channels": 1, "unit": 2.0, **kwargs}).double()


class Linear(nn.Module):
    """a + b z, as whatever part of the model stands in its place."""

    def __init__(self, a=0.0, b=0.0):
        super().__init__()
        self.a, self.b = a, b

    def forward(self, *given):
        return self.a + self.b * given[-1]


class Raise(nn.Module):
    """z + α at each event."""

    def __init__(self, alpha=0.0):
        super().__init__()
        self.alpha = alpha

    def forward(self, z, x, mask, expected, static):
        return torch.where(mask.any(-1, keepdim=True), z + self.alpha, z)


class Told(nn.Module):
    """Marks of a mean in proportion to z and variance v."""

    def __init__(self, scale, variance):
        super().__init__()
        self.scale, self.log_variance = scale, math.log(variance)

    def forward(self, z):
        return self.scale * z, torch.full_like(z, self.log_variance)


def hawkes(mu=0.6, alpha=0.5, beta=1.2, **kwargs):
    """λ = μ + Σ α exp(−β (t − tᵢ)): z decays, is raised by events, marks tell nothing."""
    module = build(sigma=0.0, **kwargs)
    nets, unit = module.nets, module.unit
    nets.begin.data.zero_()
    nets.between.field, nets.jump = Linear(b=-beta * unit), Raise(alpha)
    nets.intensity, nets.marks = Linear(mu * unit, unit), Told(0.0, 1.0)
    return module


def events(times, end):
    """One series: a window from 0 to `end` in which events of mark 0 come."""
    times = torch.tensor([[0.0, *times, end]], dtype=F64)
    mask = torch.ones(1, times.shape[1], 1, dtype=torch.bool)
    mask[:, 0] = mask[:, -1] = False
    zeros = torch.zeros(1, times.shape[1], 1, dtype=F64)
    return Series(times, zeros, mask, torch.tensor([times.shape[1]]), zeros[:, 0, :0])


def of_times(module, x, paths=1):
    """The likelihood of the events' times alone."""
    found = module.follow(x, paths)
    marks = 0.5 * math.log(2 * math.pi) * int(x.mask.sum())
    return module.log_likelihood(found, x)[0, 0].item() + marks


TIMES, END = (0.7, 1.1, 1.2, 3.0, 4.4), 6.0


def test_without_noise_and_jumps_it_is_the_neural_ode(series):
    module = build(channels=3, sigma=0.0, steps=3)
    nn.init.zeros_(module.nets.jump.net[-1].weight)
    nn.init.zeros_(module.nets.jump.net[-1].bias)
    x = series()
    found = module.follow(x, 1)
    start = module.nets.begin.expand(len(x), -1)
    field = module.nets.between.field
    ode = solve_with_updates(Euler(num_steps=3), field, start, x.times / module.unit, lambda i, y: y)
    torch.testing.assert_close(found.after[0], ode.after.transpose(0, 1), rtol=0, atol=1e-12)
    assert (found.after[0, :, -1] - start).abs().max() > 0.01


def test_a_constant_intensity_is_a_poisson_process():
    """Log L = n log λ − λ T."""
    module = hawkes(mu=0.7, alpha=0.0, beta=0.0)
    expected = len(TIMES) * math.log(0.7) - 0.7 * END
    assert of_times(module, events(TIMES, END)) == pytest.approx(expected, abs=1e-12)


def test_the_intensity_is_told_as_it_arrives_and_as_it_leaves():
    """In units of the data: μ from an empty past on, α more behind each event, β = 0."""
    module = hawkes(mu=0.6, alpha=0.5, beta=0.0)
    x = events(TIMES, END)
    said = module.intensity(module.follow(x, 1))
    assert said.shape == (1, len(TIMES) + 2, 2, 1)
    arrives = 0.6 + 0.5 * torch.tensor([0, 0, 1, 2, 3, 4, 5], dtype=F64)
    torch.testing.assert_close(said[0, :, 0, 0], arrives)
    jumps = torch.tensor([0, 0.5, 0.5, 0.5, 0.5, 0.5, 0], dtype=F64)
    torch.testing.assert_close(said[0, :, 1, 0] - said[0, :, 0, 0], jumps)


def test_the_likelihood_of_a_hawkes_process_is_approached_to_first_order():
    """Log L = Σ log λ(tᵢ₋) − μT − α/β Σ (1 − exp(−β (T − tᵢ))), Ozaki 1979; Euler's error is O(h)."""
    mu, alpha, beta = 0.6, 0.5, 1.2
    rates = [mu + sum(alpha * math.exp(-beta * (t - s)) for s in TIMES if s < t) for t in TIMES]
    gone = sum(alpha / beta * (1 - math.exp(-beta * (END - s))) for s in TIMES)
    expected = sum(math.log(r) for r in rates) - mu * END - gone
    errors = [of_times(hawkes(steps=n), events(TIMES, END)) - expected for n in (8, 16, 32)]
    slopes = [math.log2(a / b) for a, b in pairwise(errors)]
    assert slopes == pytest.approx([1.0, 1.0], abs=0.1)
    assert abs(errors[-1]) < 0.03


def test_between_events_far_apart_the_intensity_is_watched_too():
    """Whatever the gaps, none is longer than a share of the median one, and events stay what they were."""
    module, x = hawkes(watch=3), events((0.1, 0.2, 5.0), END)
    for training, width in ((True, 0.5 / 3), (False, 0.5 / 6)):
        found = module.train(training).watched(x)
        assert found.times.diff(dim=1).max() <= width + 1e-9
        assert torch.equal(found.times[found.mask[..., 0]], x.times[x.mask[..., 0]])
        assert torch.equal(found.end, x.end)
        assert torch.equal(module.watched(x).times, found.times) is not training  # drawn anew
    assert build(events=False).watched(x) is x


def test_the_likelihood_of_watched_events_is_approached_by_single_steps():
    """Poisson's to rounding, and Hawkes' to first order in the width, however few the events."""
    x = events((3.0,), END)
    poisson = hawkes(mu=0.7, alpha=0.0, beta=0.0).eval()
    assert of_times(poisson, poisson.watched(x)) == pytest.approx(math.log(0.7) - 0.7 * END, abs=1e-12)
    exact = math.log(0.6) - 0.6 * END - 0.5 / 1.2 * (1 - math.exp(-1.2 * 3.0))
    errors = []
    for watch in (2, 4, 8):
        module = hawkes(watch=watch).eval()
        assert module.steps == 1
        errors.append(of_times(module, module.watched(x)) - exact)
    assert [math.log2(a / b) for a, b in pairwise(errors)] == pytest.approx([1.0, 1.0], abs=0.15)


def test_events_of_a_kind_have_its_own_intensity():
    """Two channels, an event observes one: Log L = Σ nₖ log λₖ − (λ₁ + λ₂) T."""
    module = build(channels=2, sigma=0.0, kinds="channels")
    module.nets.intensity = nn.Module()
    rates = torch.tensor([0.4, 0.9], dtype=F64)
    module.nets.intensity.forward = lambda z: (rates * module.unit).expand(*z.shape[:-1], 2)
    x = events(TIMES, END)
    first = torch.tensor([False, True, False, False, True, False, False])
    mask = torch.stack((x.mask[0, :, 0] & first, x.mask[0, :, 0] & ~first), -1)[None]
    x = Series(x.times, torch.zeros(1, 7, 2, dtype=F64), mask, x.lengths, x.static)
    module.nets.marks.forward = lambda z: (torch.zeros(*z.shape[:-1], 2).to(z),) * 2
    expected = 2 * math.log(0.4) + 3 * math.log(0.9) - 1.3 * END
    assert of_times(module, x) == pytest.approx(expected, abs=1e-12)


def brownian(variance=0.5, **kwargs):
    """dz = dW with no drift, jump or intensity, seen with noise."""
    module = build(events=False, **kwargs)
    nets = module.nets
    nets.begin.data.zero_()
    nets.between.field, nets.jump, nets.marks = Linear(), Raise(), Told(1.0, variance)
    nets.between.diffusion, nets.between.sigma = Linear(1.0), 1.0
    return module


def test_the_bound_of_many_paths_is_the_likelihood():
    """Values of a Brownian motion with noise are jointly normal; covariance min(tᵢ, tⱼ)/unit + v δᵢⱼ."""
    times = torch.tensor([0.0, 1.0, 3.0], dtype=F64)
    values = torch.tensor([0.3, -0.5, 1.1], dtype=F64)
    x = Series(times[None], values[None, :, None], torch.ones(1, 3, 1, dtype=torch.bool), torch.tensor([3]),
               torch.zeros(1, 0, dtype=F64))  # fmt: skip
    module = brownian()
    covariance = torch.minimum(times[:, None], times) / module.unit + 0.5 * torch.eye(3, dtype=F64)
    law = torch.distributions.MultivariateNormal(torch.zeros(3, dtype=F64), covariance)
    paths = 20_000
    found = module.follow(x, paths, seed=0)
    each = module.log_likelihood(found, x)[:, 0].exp()
    error = (each.std() / each.mean()).item() / math.sqrt(paths)
    bound = module.bound(found, x).item()
    assert abs(bound - float(law.log_prob(values))) < 4 * error
    # one path is a bound from below, and not tight
    assert each.log().mean().item() < bound - 10 * error


def test_a_jump_does_not_change_what_was_expected_of_its_own_mark(series):
    module = build(channels=3)
    x = series((9,))
    other = Series(x.times, x.values.clone(), x.mask, x.lengths, x.static)
    x.mask[:, 5] = True  # of both
    other.values[:, 5] += 1.0
    a, b = (module.follow(given, 2, seed=0) for given in (x, other))
    assert torch.equal(a.before[:, :, :6], b.before[:, :, :6])
    assert not torch.equal(a.after[:, :, 5], b.after[:, :, 5])


def test_simulated_events_of_a_constant_intensity_are_poisson():
    """Counts in a window have mean and variance λT; every second one is of the first kind if rates are even."""
    module = hawkes(mu=0.7, alpha=0.0, beta=0.0)
    found = module.simulate(2000, END, seed=1, at_start=False)
    counts = found.mask[..., 0].sum(1).double()
    rate = 0.7 * END
    assert abs(float(counts.mean()) - rate) < 4 * math.sqrt(rate / 2000)
    # the variance of a sample variance of n Poisson counts is (λ + 2λ²)/n
    assert abs(float(counts.var()) - rate) < 4 * math.sqrt((rate + 2 * rate**2) / 2000)
    assert torch.equal(found.end, torch.full((2000,), END, dtype=F64))


def test_rescaled_gaps_of_simulated_hawkes_events_are_exponential():
    """∫ λ dt between events is Exp(1); distances of more than 1.63/√n are chances of 1 % (Kolmogorov)."""
    module = hawkes()
    x = module.simulate(200, 20.0, seed=2, step=0.02, at_start=False)
    mu, alpha, beta = 0.6, 0.5, 1.2
    gaps, counts, passed = [], [], 0.0  # windows behind one another: no gap is cut short
    for times, mask in zip(x.times.tolist(), x.mask[..., 0].tolist(), strict=True):
        told = [t for t, happened in zip(times, mask, strict=True) if happened]
        last = excited = 0.0
        for t in [*told, 20.0]:
            gap = t - last
            passed += mu * gap + excited / beta * (1 - math.exp(-beta * gap))
            excited, last = excited * math.exp(-beta * gap) + alpha, t
            if t < 20.0:
                gaps.append(passed)
                passed = 0.0
        counts.append(len(told))
    shares = torch.sort(1 - torch.exp(-torch.tensor(gaps, dtype=F64))).values
    n = len(shares)
    distance = (shares - (torch.arange(n, dtype=F64) + 0.5) / n).abs().max()
    assert n > 3000
    assert distance < 1.63 / math.sqrt(n)
    # E λ = μ (β − α exp(−(β − α) t))/(β − α), Hawkes 1971
    net = beta - alpha
    expected = mu / net * (beta * 20.0 - alpha / net * (1 - math.exp(-net * 20.0)))
    spread = torch.tensor(counts, dtype=F64).std() / math.sqrt(200)
    assert abs(sum(counts) / 200 - expected) < 4 * spread


def test_simulated_series_follow_from_the_seed_and_are_series():
    module = build(channels=2, kinds="channels")
    x, again, other = (module.simulate(5, 4.0, seed=s) for s in (1, 1, 2))
    assert torch.equal(x.times, again.times)
    assert torch.equal(x.values, again.values)
    assert not torch.equal(x.values, other.values[:, : x.values.shape[1]])
    assert (x.times.diff(dim=1) >= 0).all()
    assert x.mask[:, 0].any(-1).all()  # an event at the start
    assert (x.mask.sum(-1) <= 1).all()  # of one kind each
    assert not x.mask[torch.arange(5), x.lengths - 1].any()
    assert (x.values[~x.mask] == 0).all()
    assert module.bound(module.follow(x, 2, seed=0), x).isfinite().all()


def test_simulation_refuses_what_it_cannot_do():
    with pytest.raises(UsageError, match=r"model\.events true"):
        build(events=False).simulate(2, 1.0)
    with pytest.raises(UsageError, match="give positive numbers"):
        build().simulate(2, 0.0)


@pytest.mark.parametrize(
    "option", [{"paths": 0}, {"sigma": -1.0}, {"kinds": "all"}, {"joint": 0.0}, {"watch": 0}]
)
def test_options_out_of_their_domain_are_refused(option):
    with pytest.raises(UsageError, match=next(iter(option))):
        build(**option)


def test_without_noise_it_is_deterministic_and_a_class_has_one_component(series, series_spec):
    spec = series_spec(Classes(3))
    torch.manual_seed(0)
    x = series()
    for module in (NeuralJumpSDE(spec, sigma=0.0), NeuralJumpSDE(spec, sigma=0.0, events=False)):
        module.double().eval()
        assert module.components == 1
        assert torch.equal(module(x), module(x))
    # where λ is watched, training does so at random times
    assert torch.equal(module.train()(x), module(x))


ASKED = SeriesSpec("made-up", Events(), channels=2, length=9, irregular=True, missing=True, step=0.5)


def kinds_alone(**kwargs):
    torch.manual_seed(0)
    return NeuralJumpSDE(ASKED, **{"channels": 3, "unit": 2.0, **kwargs}).double()


def of_two_kinds():
    """Two sequences over 6, watched from 0; the second ends one row earlier."""
    x = events(TIMES, END)
    times = torch.cat((x.times, torch.tensor([[0.0, 1.0, 2.0, 3.5, 5.0, 6.0, 6.0]], dtype=F64)))
    mask = torch.zeros(2, 7, 2, dtype=torch.bool)
    mask[0, 1:6, 0] = mask[1, 1:5, 1] = True
    mask[0, 3] = torch.tensor([False, True])
    return Series(times, mask.double(), mask, torch.tensor([7, 6]), torch.zeros(2, 0, dtype=F64))


def test_asked_for_events_alone_it_is_the_likelihood_of_their_times_and_kinds():
    module = kinds_alone(sigma=0.0)
    module.nets.intensity = nn.Module()
    rates = torch.tensor([0.4, 0.9], dtype=F64)
    module.nets.intensity.forward = lambda z: (rates * module.unit).expand(*z.shape[:-1], 2)
    outcome = module.eval().step((of_two_kinds(),), "val")
    expected = [4 * math.log(0.4) + math.log(0.9) - 1.3 * END, 4 * math.log(0.9) - 1.3 * END]
    assert outcome.prediction.tolist() == pytest.approx(expected, abs=1e-12)
    assert outcome.loss.item() == pytest.approx(-sum(expected) / 9, abs=1e-12)


def test_asked_for_events_alone_every_parameter_learns_and_neither_padding_nor_mates_matter():
    module, x = kinds_alone(), of_two_kinds()
    module.train().step((x,), "train").loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    module.eval()
    both = module.step((x,), "val").prediction
    alone = module.step((x[1:],), "val").prediction
    cut = Series(x.times[1:, :6], x.values[1:, :6], x.mask[1:, :6], x.lengths[1:], x.static[1:])
    torch.testing.assert_close(both[1:], alone, rtol=0, atol=1e-12)
    torch.testing.assert_close(both[1:], module.step((cut,), "val").prediction, rtol=0, atol=1e-12)
    found = module.simulate(3, 4.0)
    assert not found.mask[:, 0].any()
    assert torch.equal(found.values, found.mask.double())
    assert found.mask.any()
    assert module.step((found,), "val").loss.isfinite()


def test_asked_for_events_alone_there_is_no_answer_for_one_and_no_other_intensity():
    with pytest.raises(UsageError, match="integrand test scores it"):
        kinds_alone()(of_two_kinds())
    for option in ({"events": False}, {"kinds": "one"}):
        with pytest.raises(UsageError, match="asks when which kind"):
            kinds_alone(**option)
