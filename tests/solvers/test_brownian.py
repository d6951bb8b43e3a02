"""Refinable Brownian paths: their law, and that one seed is one path whoever looks at it."""

import math

import pytest
import torch
from sde_cases import case
from torch.utils._python_dispatch import TorchDispatchMode

from integrand.errors import SpecError
from integrand.solvers import (
    SRK,
    BrownianPath,
    EulerMaruyama,
    Milstein,
    SolverOptionError,
    StratonovichHeun,
    TorchSDE,
)


def path(seed=0, times=(0.0, 1.0), shape=(4096, 4), dtype=torch.float64, **kwargs):
    return BrownianPath(seed, times, shape, dtype, **kwargs)


def has_variance(sample, variance):
    """Within 5 standard errors √(2/n) of a normal law's; fails by chance once in 1.7 million seeds."""
    assert sample.var().item() == pytest.approx(variance, rel=5 * math.sqrt(2 / sample.numel()))


def are_uncorrelated(a, b):
    correlation = torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1].item()
    assert abs(correlation) < 5 / math.sqrt(a.numel())


@pytest.mark.parametrize("ends", [(0.0, 1.0), (0.25, 0.375), (0.1, 0.35), (0.3, 0.30001), (1 / 3, 1.0)])
def test_increments_and_areas_have_their_law(ends):
    """Var ΔW = h, Var H = h/12, independent, of normal kurtosis 3, on intervals in and off the tree."""
    w, area = path().increment(*ends)
    h = ends[1] - ends[0]
    has_variance(w, h)
    has_variance(area, h / 12)
    are_uncorrelated(w, area)
    for x in (w, area):
        kurtosis = (x**4).mean().item() / x.square().mean().item() ** 2
        # standard error √(24/n)
        assert kurtosis == pytest.approx(3, abs=5 * math.sqrt(24 / x.numel()))


def test_neighbours_samples_and_seeds_are_independent():
    """Of the 8 intervals, of components and of seeds that differ in one bit: correlations of 1/√4096."""
    one = path(1)
    pieces = [x[:, 0] for i in range(8) for x in one.increment(i / 8, (i + 1) / 8)]
    pieces += [one.increment(0.0, 0.5)[0][:, c] for c in (1, 2)]
    pieces += [path(seed).increment(0.0, 0.5)[0][:, 0] for seed in (2, 3, 1 + 2**32, 1 + 2**62)]
    correlations = torch.corrcoef(torch.stack(pieces)) - torch.eye(len(pieces), dtype=torch.float64)
    assert correlations.abs().max() < 5 / math.sqrt(4096)
    are_uncorrelated(pieces[0][1:], pieces[0][:-1])


@pytest.mark.parametrize("number", [2, 16, 7, 100])
@pytest.mark.parametrize("times", [(0.0, 1.0), (0.0, 0.3, 1.0)])
def test_parts_add_up_to_the_whole(times, number):
    """Increments add; ∫W adds over the parts: ∫(W − W(0)) ds = h (ΔW/2 + H) over each, shifted by W."""
    one = path(times=times, shape=(3, 2))
    w = integral = torch.zeros(3, 2, dtype=torch.float64)
    for i in range(number):
        a, b = i / number, (i + 1) / number
        dw, area = one.increment(a, b)
        integral = integral + (b - a) * (w + dw / 2 + area)
        w = w + dw
    whole, area = one.increment(0.0, 1.0)
    torch.testing.assert_close(w, whole, rtol=0, atol=1e-13)
    torch.testing.assert_close(integral, whole / 2 + area, rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (40,), (4, 5, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_alone_are_those_of_a_batch_bit_for_bit(shape, dtype):
    ends = [(0.0, 1.0), (0.25, 0.5), (0.71875, 0.75), (0.1, 0.3)]
    whole = path(shape=(150, *shape), dtype=dtype)
    for first, number in ((0, 1), (1, 7), (60, 10), (149, 1)):
        part = path(shape=(number, *shape), dtype=dtype, first_sample=first)
        for a, b in ends:
            for x, y in zip(whole.increment(a, b), part.increment(a, b), strict=True):
                assert torch.equal(x[first : first + number], y)


def test_answers_do_not_depend_on_the_order_of_questions():
    ends = [(i / 64, (i + 1) / 64) for i in range(64)] + [(0.0, 0.25), (0.2, 0.6)]
    one, other = path(shape=(5, 2)), path(shape=(5, 2))
    forwards = [one.increment(a, b, True) for a, b in ends]
    backwards = [other.increment(a, b, a < 0.5) for a, b in reversed(ends)]
    for (w, area), (v, other_area) in zip(forwards, reversed(backwards), strict=True):
        assert torch.equal(w, v)
        assert other_area is None or torch.equal(area, other_area)


class _Drawn(TorchDispatchMode):
    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.normal_.default:
            self.numbers += args[0].numel()
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("d", [1, 8, 64])
def test_far_samples_cost_no_draws(d):
    """At most the rest of one block before the first sample, of 64 samples or 2,048 numbers a row."""
    drawn = []
    for first in (0, 50_000, 5_000_000):
        with _Drawn() as counter:
            path(shape=(128, d), dtype=torch.float32, first_sample=first, times=range(17)).increment(0, 1)
        drawn.append(counter.numbers)
    assert max(drawn) <= drawn[0] + 2 * 16 * max(64 * d, 2048)


class Walk:
    """dy = dW: the end is y0 + W(1) by every method."""

    noise_type = "diagonal"

    def __init__(self, sde_type="ito"):
        self.sde_type = sde_type

    def f(self, t, y):
        return torch.zeros_like(y)

    def g(self, t, y):
        return torch.ones_like(y)


def end_of(solver, sde_type="ito", dtype=torch.float64, times=(0.0, 1.0), **kwargs):
    y0 = torch.zeros(5, 3, dtype=dtype)
    return solver.solve(Walk(sde_type), y0, list(times), seed=3, **kwargs).ys[-1]


def test_one_seed_is_one_path_for_every_method_step_and_dtype():
    """Grids that come from one by halving, and every method and dtype on them, see the same W(1)."""
    expected = end_of(EulerMaruyama(num_steps=5))
    for n in (10, 20, 80):
        torch.testing.assert_close(end_of(EulerMaruyama(num_steps=n)), expected, rtol=0, atol=1e-12)
    for solver, sde_type in (
        (Milstein(num_steps=10), "ito"),
        (SRK(num_steps=40), "ito"),
        (StratonovichHeun(step_size=0.1), "stratonovich"),
        (TorchSDE("euler", num_steps=20), "ito"),
        (TorchSDE("srk", num_steps=20), "ito"),
        (TorchSDE("midpoint", num_steps=5), "stratonovich"),
    ):
        torch.testing.assert_close(end_of(solver, sde_type), expected, rtol=0, atol=1e-12)
    # 80 float32 sums of numbers of order one
    single = end_of(EulerMaruyama(num_steps=80), dtype=torch.float32)
    torch.testing.assert_close(single.double(), expected, rtol=0, atol=1e-5)
    # outputs on the way change nothing where they are nodes anyway
    times = [i / 10 for i in range(11)]
    torch.testing.assert_close(end_of(EulerMaruyama(num_steps=20), times=times), expected, rtol=0, atol=1e-12)


def test_without_a_seed_torch_decides_and_the_steps_are_the_roots():
    ends = []
    for _ in range(2):
        torch.manual_seed(4)
        y0 = torch.zeros(5, 3, dtype=torch.float64)
        ends.append(EulerMaruyama(num_steps=8).solve(Walk(), y0, [0.0, 1.0]).ys[-1])
    assert torch.equal(*ends)


@pytest.mark.parametrize("number", [1, 3, 10, 16, 37])
def test_any_steps_see_one_given_path(number):
    given = path(9, shape=(5, 3))
    end = end_of(EulerMaruyama(num_steps=number), brownian=given)
    torch.testing.assert_close(end, given.increment(0.0, 1.0)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("noise_type", ["scalar", "general"])
def test_torchsde_sees_the_path_of_a_seed_with_other_noise(noise_type):
    sde, y0 = case(noise_type, "ito"), case(noise_type, "ito").start(5)
    ends = [
        solver.solve(sde, y0, [0.0, 1.0], seed=2, first_sample=70).ys[-1]
        for solver in (EulerMaruyama(num_steps=8), TorchSDE("euler", num_steps=8))
    ]
    # torchsde's steps are 1e-9 longer
    torch.testing.assert_close(*ends, rtol=0, atol=1e-8)


def test_a_path_made_in_inference_serves_training():
    with torch.inference_mode():
        made = path(shape=(4, 2))
        first = made.increment(0.25, 0.5)[0].clone()
    y0 = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)
    EulerMaruyama(num_steps=8).solve(Walk(), y0, [0.0, 1.0], brownian=made).ys.sum().backward()
    assert torch.equal(made.increment(0.25, 0.5)[0], first)


def test_what_was_handed_out_stays():
    """Chunks of 16 intervals share memory; a graph may hold increments of earlier ones."""
    one = path(shape=(3, 2), times=[i / 64 for i in range(65)])
    ends = [(i / 64, (i + 1) / 64) for i in range(64)]
    held = [one.increment(*e) for e in ends]
    for (w, area), e in zip(held, ends, strict=True):
        again = one.increment(*e)
        assert torch.equal(w, again[0])
        assert torch.equal(area, again[1])


def test_normals_by_step_are_a_path_too():
    class Ones:
        def normals(self, n):
            return torch.full((5, 3), n + 1.0, dtype=torch.float64), None

    # √h (1 + 2 + 3 + 4)
    end = end_of(EulerMaruyama(num_steps=4), brownian=Ones())
    torch.testing.assert_close(end, torch.full_like(end, 5.0), rtol=0, atol=1e-12)
    with pytest.raises(SolverOptionError, match="object is no Brownian path"):
        end_of(EulerMaruyama(num_steps=4), brownian=object())


def test_refuses():
    with pytest.raises(SpecError, match="must increase"):
        path(times=(0.0, 0.0))
    with pytest.raises(SpecError, match=r"over \[0, 1\] was asked for \[0.5, 1.5\]"):
        path().increment(0.5, 1.5)
    with pytest.raises(SpecError, match="was asked for"):
        path().increment(0.5, 0.5)


@pytest.mark.parametrize("size", [2048, 2049, 5000])
def test_samples_of_any_size_have_numbers_of_their_own(size):
    """Blocks of samples are sized by what a sample needs: one may need more than a block was meant to hold."""
    path = BrownianPath(0, (0.0, 1.0), (70, size), torch.float32, torch.device("cpu"))
    w, _ = path.increment(0.0, 1.0, area=False)
    alone = BrownianPath(0, (0.0, 1.0), (1, size), torch.float32, torch.device("cpu"), 65)
    assert torch.equal(alone.increment(0.0, 1.0, area=False)[0][0], w[65])
    assert w.var().item() == pytest.approx(1.0, abs=5 * (2 / w.numel()) ** 0.5)
    assert not torch.equal(w[0], w[1])
