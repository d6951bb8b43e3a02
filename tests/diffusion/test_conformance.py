"""What every sampler must keep, whatever its method; a new sampler is one file and is tested here by itself."""

import inspect
import math

import pytest
import torch
from diffusion_cases import F64, linear_moments, normal, zero_mean_mixture

import integrand.diffusion.samplers
from integrand.diffusion import (
    VP,
    BudgetError,
    IncompatibleError,
    LogSNRGrid,
    NonFiniteSamplesError,
    ProbabilityFlow,
    SampleNoise,
    Sampler,
    UniformGrid,
    draw_prior,
)
from integrand.registry import import_package, subclasses
from integrand.solvers import Dopri8, Status

import_package(integrand.diffusion.samplers.__name__)
CLASSES = [
    c for c in subclasses(Sampler) if not inspect.isabstract(c) and c.__module__.startswith("integrand")
]
EXAMPLES = [pytest.param(s, id=s.describe()) for c in CLASSES for s in c.examples()]
SEED = 3


class Watched(torch.nn.Module):
    """Counts calls and remembers the times."""

    conditional = False

    def __init__(self, model):
        super().__init__()
        self.model, self.parametrisation = model, model.parametrisation
        self.calls, self.times = 0, []

    def forward(self, x, t):
        self.calls += 1
        assert t.shape == (len(x),)
        self.times.append(float(t[0]))
        return self.model(x, t)


def noise_for(sampler, shape, first=0):
    return SampleNoise(SEED, shape, first, F64) if sampler.stochastic else None


def sample(sampler, model, process, grid, x, first=0, **options):
    return sampler.sample(model, process, grid, x, noise_for(sampler, x.shape, first), **options)


@pytest.fixture(scope="module")
def reference():
    """The probability flow of the mixture to rounding, from 64 states."""
    process = VP(beta_max=40.0)
    start = process.node_at(-6.0)
    grid = LogSNRGrid(start.t, process.node_at(1.0).t)
    x = start.sigma * normal(64, 2)
    exact = ProbabilityFlow(Dopri8(rtol=1e-12, atol=1e-12), "log_snr")
    return process, grid, x, exact.sample(zero_mean_mixture(process), process, grid, x).x


def test_every_sampler_is_found_and_named_apart():
    names = [p.values[0].describe() for p in EXAMPLES]
    assert len(CLASSES) >= 18
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("sampler", EXAMPLES)
def test_order(sampler, reference):
    """The slope between 144 and 288 steps is the declared order.

    Steps even in λ from λ = −6 to 1; data prediction bends over Δλ ≈ 1, and the steps, 0.05 and 0.025, are short
    against that.
    Starting steps of lower order do not show: near λ = −6 the noise of zero-mean data changes with e^{2λ}.
    Stochastic samplers: mean and variance for Gaussian data, which follow without Monte Carlo.
    """
    process, grid, x, exact = reference
    if sampler.order is None:
        assert not sampler.stochastic or sampler.evaluations(8) is not None
        return
    errors = []
    for steps in (144, 288):  # multiples of 3 and 2: groups of every order come out even
        if sampler.stochastic:
            end = process.node_at(1.0)
            mean, variance = linear_moments(sampler, process, grid, steps, 1.0, 0.5)
            gaps = (mean - end.alpha, variance - (0.25 * end.alpha**2 + end.sigma**2))
            errors.append([abs(g) for g in gaps])
        else:
            out = sample(sampler, zero_mean_mixture(process), process, grid, x, steps=steps).x
            errors.append([float((out - exact).square().mean().sqrt())])
    # methods that integrate the linear part exactly have no error in the mean of Gaussian data
    pairs = [(a, b) for a, b in zip(*errors, strict=True) if b > 1e-12]
    assert pairs
    for a, b in pairs:
        assert abs(math.log2(a / b) - sampler.order) <= 0.2, errors


@pytest.mark.parametrize("to_zero", [False, True])
@pytest.mark.parametrize("sampler", EXAMPLES)
def test_nfe_is_what_was_called_and_what_was_announced(sampler, to_zero):
    process, x = VP(), normal(3, 2)
    grid = LogSNRGrid(to_zero=to_zero)
    least = sampler.minimum_steps
    for steps in (least, least + 1, least + 5):
        model = Watched(zero_mean_mixture(process))
        result = sample(sampler, model, process, grid, x, steps=steps, trajectory=True)
        assert result.nfe == model.calls
        assert result.status is Status.SUCCESS
        assert len(result.trajectory) == len(result.times)
        assert (result.times[-1] == 0) is to_zero or float(result.times[-1]) == (
            0 if to_zero else process.t_min
        )
        torch.testing.assert_close(result.trajectory[-1], result.x, rtol=0, atol=0)
        announced = sampler.evaluations(steps, to_zero)
        if announced is None:
            with pytest.raises(BudgetError, match="itself"):
                sampler.steps_for(100, to_zero)
            continue
        assert result.nfe == announced
        for spare in (0, 1):
            taken = sampler.steps_for(announced + spare, to_zero)
            assert (
                sampler.evaluations(taken, to_zero)
                <= announced + spare
                < sampler.evaluations(taken + 1, to_zero)
            )


@pytest.mark.parametrize("sampler", EXAMPLES)
def test_off_grid_is_declared(sampler):
    process, x = VP(), normal(3, 2)
    grid = UniformGrid()
    model = Watched(zero_mean_mixture(process))
    steps = sampler.minimum_steps + 6
    sample(sampler, model, process, grid, x, steps=steps)
    times = grid.times(process, steps)
    strays = [t for t in model.times if float((times - t).abs().min()) > 1e-9]
    assert bool(strays) is sampler.off_grid


@pytest.mark.parametrize("sampler", EXAMPLES)
def test_below_the_minimum_is_refused(sampler):
    process, x = VP(), normal(3, 2)
    model, grid = zero_mean_mixture(process), LogSNRGrid(to_zero=True)
    if sampler.evaluations(8) is None:
        with pytest.raises(BudgetError, match="itself"):
            sample(sampler, model, process, grid, x, nfe=10)
        return
    least = sampler.minimum_nfe(to_zero=True)
    with pytest.raises(BudgetError, match=f"at least NFE {least}"):
        sample(sampler, model, process, grid, x, nfe=least - 1)
    assert sample(sampler, model, process, grid, x, nfe=least).nfe == least


@pytest.mark.parametrize("sampler", EXAMPLES)
def test_a_sample_does_not_depend_on_its_batch(sampler):
    process = VP()
    model, grid = zero_mean_mixture(process), LogSNRGrid(to_zero=True)
    steps = sampler.minimum_steps + 5
    # enough to leave the first block of numbers
    cut, total = 2500, 2600
    whole_noise = SampleNoise(SEED, (total, 2), dtype=F64)
    x = draw_prior(process, grid, whole_noise)
    whole = sampler.sample(model, process, grid, x, whole_noise, steps=steps)
    parts = []
    for first, last in ((0, cut), (cut, cut + 1), (cut + 1, total)):
        noise = SampleNoise(SEED, (last - first, 2), first, F64)
        start = draw_prior(process, grid, noise)
        assert torch.equal(start, x[first:last])
        parts.append(sampler.sample(model, process, grid, start, noise, steps=steps).x)
    # vectorised exp differs in the last bit between lanes; adaptive steps follow the batch's error norm
    tolerance = 1e-6 if sampler.evaluations(steps) is None else 1e-11
    torch.testing.assert_close(torch.cat(parts), whole.x, rtol=0, atol=tolerance)


@pytest.mark.parametrize("sampler", EXAMPLES)
def test_a_sample_that_fails_is_marked_and_the_others_are_kept(sampler):
    process, x = VP(), normal(4, 2)
    model, grid = zero_mean_mixture(process), LogSNRGrid(to_zero=True)

    class Breaks(Watched):
        def forward(self, x, t):
            out = super().forward(x, t)
            if self.calls > 2:
                out[2] = torch.nan
            return out

    steps = sampler.minimum_steps + 5
    good = sample(sampler, model, process, grid, x, steps=steps)
    bad = sample(sampler, Breaks(model), process, grid, x, steps=steps)
    assert good.failed is None
    assert good.require_finite() is good
    assert bad.status is Status.PARTIAL
    assert bad.failed.tolist() == [False, False, True, False]
    with pytest.raises(NonFiniteSamplesError, match=r"1 of 4 samples are not finite \(samples 2\)"):
        bad.require_finite()
    tolerance = 1e-6 if sampler.evaluations(steps) is None else 1e-12
    torch.testing.assert_close(bad.x[[0, 1, 3]], good.x[[0, 1, 3]], rtol=0, atol=tolerance)


@pytest.mark.parametrize("sampler", EXAMPLES)
def test_noise_is_drawn_as_declared(sampler):
    process, x = VP(), normal(3, 2)
    model, grid = zero_mean_mixture(process), LogSNRGrid()
    steps = sampler.minimum_steps + 4

    def run(seed):
        return sampler.sample(model, process, grid, x, SampleNoise(seed, x.shape, dtype=F64), steps=steps).x

    assert torch.equal(run(0), run(0))
    assert torch.equal(run(0), run(1)) is not sampler.stochastic
    if sampler.stochastic:
        with pytest.raises(IncompatibleError, match="draws noise"):
            sampler.sample(model, process, grid, x, steps=steps)


@pytest.mark.parametrize("sampler", EXAMPLES)
def test_dtypes_and_input(sampler):
    """float32 and bfloat16 come back as they went in, no graph is kept, and x_T is not overwritten."""
    process = VP()
    model, grid = zero_mean_mixture(process).float(), LogSNRGrid(to_zero=True)
    steps = sampler.minimum_steps + 3
    for dtype in (torch.float32, torch.bfloat16):
        x = normal(3, 2).to(dtype)
        before = x.clone()
        noise = SampleNoise(SEED, x.shape)
        out = sampler.sample(model, process, grid, x.requires_grad_(), noise, steps=steps).x
        assert out.dtype == dtype
        assert not out.requires_grad
        assert torch.equal(x, before)
