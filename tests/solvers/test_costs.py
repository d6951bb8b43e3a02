"""Kernels and host reads, which do not depend on the machine's load: what a step costs besides its field."""

from collections import Counter

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from integrand.solvers import (
    RK4,
    RK38,
    Bosh3,
    Dopri5,
    Euler,
    Event,
    Tsit5,
    solve_with_events,
)

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
F64 = torch.float64


class Kernels(TorchDispatchMode):
    """Counts what reaches the device, without views."""

    def __init__(self):
        super().__init__()
        self.counts, self.paused = Counter(), False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if not self.paused and not func.is_view and name != "_local_scalar_dense":
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


class Reads(TorchFunctionMode):
    """Counts what makes the host wait for the device."""

    NAMES = frozenset({"item", "tolist", "nonzero", "equal", "__bool__", "__float__", "__int__"})

    def __init__(self):
        super().__init__()
        self.number = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.number += getattr(func, "__name__", "") in self.NAMES
        return func(*args, **(kwargs or {}))


class Quiet(nn.Module):
    """A rotation whose own kernels are not counted."""

    def __init__(self, kernels):
        super().__init__()
        self.kernels = kernels

    def forward(self, t, y):
        self.kernels.paused = True
        q, p = y.unbind(1)
        value = torch.stack((3 * p, -3 * q), 1)
        self.kernels.paused = False
        return value


def cost(solve, y0=None):
    """Kernels by name, host reads, and the account of solve(field, y0)."""
    kernels, reads = Kernels(), Reads()
    y0 = torch.ones(2, 2, dtype=F64) if y0 is None else y0
    with torch.no_grad(), kernels, reads:
        stats = solve(Quiet(kernels), y0).stats
    return kernels.counts, reads.number, stats


def per_step(make):
    """Kernels and reads for each attempted step: two solves' difference, so that a solve's own drop out."""
    short, short_reads, a = cost(make(2.0))
    long, long_reads, b = cost(make(8.0))
    steps = (b.accepted + (b.rejected or 0)) - (a.accepted + (a.rejected or 0))
    assert steps > 10
    return (long.total() - short.total()) / steps, (long_reads - short_reads) / steps


def common(solver):
    return lambda end: lambda field, y0: solver.solve(field, y0, [0.0, end])


def own(solver):
    """Times of each sample's own, the same number in both solves."""
    rows = [[0.0, 0.3, 1.0], [0.0, 0.5, 1.1]]

    def make(end):
        times = torch.tensor([[*row, end] for row in rows], dtype=F64)
        return lambda field, y0: solver.solve(field, y0, times)

    return make


def watched(solver):
    """With an event that never happens."""
    event = Event(lambda t, y: y[:, 0] + 100)
    return lambda end: lambda field, y0: solve_with_events(solver, field, y0, [0.0, end], [event])


STAGES = {Bosh3: 1 + 1 + 3, Dopri5: 1 + 2 + 3 + 4 + 5 + 5, Tsit5: 1 + 2 + 3 + 4 + 5 + 6}
"""Non-zero weights of the rows and of the step, one kernel each."""


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
@pytest.mark.parametrize(("method", "differences"), [(Bosh3, 4), (Dopri5, 6), (Tsit5, 7)])
def test_an_adaptive_step(method, differences, gradient):
    """Stage sums; |y₁|, scale in two, b − b_low over its largest in all but one, division, norm; one read."""
    # the row of b and that of the last stage are one where the step has none of its own
    kernels, reads = per_step(common(method(**TOLERANCE, gradient=gradient)))
    assert (kernels, reads) == (STAGES[method] + 3 + (differences - 1) + 2, 1)


@pytest.mark.parametrize(("method", "sums"), [(Euler, 1), (RK4, 1 + 1 + 1 + 4), (RK38, 1 + 2 + 3 + 4)])
def test_a_fixed_step_is_its_stage_sums(method, sums):
    assert per_step(common(method(step_size=0.1))) == (sums, 0)


def test_the_first_evaluations_are_watched_without_a_kernel():
    """All that a solve of one step costs: the step, the outputs joined, their sum read for being finite."""
    kernels, reads, _ = cost(lambda field, y0: Euler(num_steps=1).solve(field, y0, [0.0, 1.0]))
    assert (dict(kernels), reads) == ({"add": 1, "stack": 1, "sum": 1}, 1)


def test_steps_that_are_kept_cost_their_coefficients():
    """Four powers of θ; k₂ enters none, and k₇ not all: 19 sums."""
    plain, _ = per_step(common(Dopri5(**TOLERANCE)))
    dense, reads = per_step(common(Dopri5(**TOLERANCE, dense=True)))
    assert (dense - plain, reads) == (sum(map(len, Dopri5.tableau.interpolant.columns)), 1)


def test_an_output_inside_a_step_is_one_sum():
    """Six stages with a weight."""

    def at(n):
        times = torch.linspace(0, 2, n).tolist()
        return lambda field, y0: Dopri5(**TOLERANCE, first_step=0.1).solve(field, y0, times)

    (few, few_reads, a), (many, many_reads, b) = cost(at(11)), cost(at(31))
    assert a.accepted == b.accepted
    assert (many.total() - few.total(), many_reads) == (20 * 6, few_reads)


def test_own_times_add_the_clock_of_each_evaluation():
    """Six evaluations, each with its time and its slope in units of the sample's span; no more reads."""
    plain, _ = per_step(common(Dopri5(**TOLERANCE)))
    kernels, reads = per_step(own(Dopri5(**TOLERANCE)))
    assert (kernels - plain, reads) == (6 * 2, 1)


@pytest.mark.parametrize(
    ("make", "most", "read"),
    [
        (common(Dopri5(**TOLERANCE, per_sample=True)), 139, 1),
        (own(Dopri5(**TOLERANCE, per_sample=True)), 158, 1),
        (watched(Dopri5(**TOLERANCE)), 345, 5),
        (watched(Dopri5(**TOLERANCE, per_sample=True)), 461, 5),
    ],
    ids=["per sample", "per sample, own times", "events", "events per sample"],
)
def test_steps_of_each_sample(make, most, read):
    """Step control on tensors: as many kernels as on the day this was written, at most."""
    kernels, reads = per_step(make)
    assert kernels <= most
    assert reads == read
