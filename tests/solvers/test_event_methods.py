"""Events in steps of every kind of method, against an oscillator between walls and SciPy's Radau."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import nn

from integrand.solvers import (
    RK4,
    SDIRK3,
    Dopri8,
    EvaluationCounter,
    Event,
    ImplicitMidpoint,
    KenCarp4,
    Kvaerno5,
    Leapfrog,
    Midpoint,
    Nystrom4,
    Reversible,
    Rodas5P,
    SecondOrderField,
    SplitField,
    Yoshida4,
    Yoshida6,
    solve_with_events,
)

F64 = torch.float64
TIGHT = {"rtol": 1e-7, "atol": 1e-7}


class Spring(SecondOrderField):
    """q̈ = −ω² q; from (A, 0) it is at A cos ωt."""

    def __init__(self):
        super().__init__()
        self.omega = nn.Parameter(torch.tensor(1.0, dtype=F64))

    def force(self, t, q):
        return -(self.omega**2) * q


class SplitSpring(SplitField):
    """The same in two parts."""

    def __init__(self):
        super().__init__()
        self.omega = nn.Parameter(torch.tensor(1.0, dtype=F64))

    def explicit(self, t, y):
        return torch.cat((y[:, 1:], torch.zeros_like(y[:, :1])), 1)

    def implicit(self, t, y):
        return torch.cat((torch.zeros_like(y[:, :1]), -(self.omega**2) * y[:, :1]), 1)


def spring(solver):
    return SplitSpring() if isinstance(solver, KenCarp4) else Spring()


WALL = Event(lambda t, y: y[:, 0] + 0.5, direction=-1, jump=lambda t, y: torch.cat((y[:, :1], -y[:, 1:]), 1))
"""An elastic wall at q = −½: motion turns back, φ → −φ."""
AMPLITUDES = torch.tensor([[1.0, 0.0], [0.8, 0.0], [0.4, 0.0]], dtype=F64)
END = 6.0


def hits(amplitude, omega):
    """The first two: at phase φ with A cos φ = −½, then after another 2φ."""
    phase = torch.acos(-0.5 / amplitude)
    return torch.stack((phase, 3 * phase)) / omega


# with the error of times at these settings
METHODS = [
    (RK4(num_steps=90), 1e-6),
    (RK4(step_size=0.06, gradient="checkpoint"), 1e-6),
    (Dopri8(num_steps=24), 1e-6),
    (SDIRK3(rtol=1e-5, atol=1e-5), 3e-4),
    (Kvaerno5(**TIGHT), 1e-5),
    (Kvaerno5(**TIGHT, gradient="checkpoint"), 1e-5),
    (Rodas5P(**TIGHT), 1e-5),
    (KenCarp4(**TIGHT), 1e-5),
    (Yoshida4(num_steps=100), 3e-5),
    (Yoshida6(num_steps=60, gradient="reversible"), 1e-6),
    (ImplicitMidpoint(num_steps=150), 1e-3),
    (Reversible("mccallum-foster", num_steps=80), 1e-5),
]
NAMES = [f"{s.describe()} {s.gradient}" for s, _ in METHODS]


@pytest.mark.parametrize(("solver", "error"), METHODS, ids=NAMES)
def test_a_spring_before_a_wall(solver, error):
    """Times, states and their gradients by amplitude and frequency; the third never meets the wall."""
    field, y0 = spring(solver), AMPLITUDES.clone().requires_grad_()
    solution = solve_with_events(solver, field, y0, [0.0, 1.0, END], [WALL])
    happened = solution.events[0]
    order = torch.argsort(happened.sample, stable=True)
    exact = torch.cat([hits(y0[i, 0], field.omega)[:n] for i, n in ((0, 1), (1, 1))])
    # 3φ is 6.28 and 6.74, beyond the end
    assert happened.sample[order].tolist() == [0, 1]
    torch.testing.assert_close(happened.time[order], exact, rtol=0, atol=error)
    phase = torch.stack([field.omega * (END - 2 * hits(y0[i, 0], field.omega)[0]) for i in (0, 1)])
    ends = torch.cat((y0[:2, 0] * torch.cos(phase), (y0[2:, 0] * torch.cos(field.omega * END))))
    torch.testing.assert_close(solution.ys[-1, :, 0], ends, rtol=0, atol=3 * error)
    torch.testing.assert_close(solution.ys[1, :, 0], y0[:, 0] * torch.cos(field.omega), rtol=0, atol=error)
    for ours, theirs in (
        (happened.time.square().sum(), exact.square().sum()),
        (solution.ys[-1, :, 0].sum(), ends.sum()),
    ):
        got = torch.autograd.grad(ours, (field.omega, y0), retain_graph=True)
        wanted = torch.autograd.grad(theirs, (field.omega, y0), retain_graph=True)
        torch.testing.assert_close(got[0], wanted[0], rtol=0, atol=100 * error)
        torch.testing.assert_close(got[1][:, 0], wanted[1][:, 0], rtol=0, atol=100 * error)


@pytest.mark.parametrize(
    ("method", "steps"),
    [
        (Midpoint, (40, 80)),
        (RK4, (20, 40)),
        (SDIRK3, (20, 40)),
        (Kvaerno5, (10, 20)),
        (Rodas5P, (10, 20)),
        (KenCarp4, (20, 40)),
        (Leapfrog, (40, 80)),
        (Yoshida4, (40, 80)),
        (Nystrom4, (20, 40)),
        (Yoshida6, (20, 40)),
        (ImplicitMidpoint, (40, 80)),
    ],
    ids=lambda x: getattr(x, "__name__", None),
)
def test_times_converge_with_the_order_of_the_method(method, steps):
    """Also where that is above the order of the polynomial in which roots are looked for."""
    with torch.no_grad():
        errors = []
        for n in steps:
            solver = method(num_steps=n)
            happened = solve_with_events(solver, spring(solver), AMPLITUDES[:2], [0.0, 3.0], [WALL]).events[0]
            exact = torch.cat([hits(y[0], 1.0)[:1] for y in AMPLITUDES[:2]])
            errors.append((happened.time[torch.argsort(happened.sample)] - exact).abs().max().item())
    slope = math.log2(errors[0] / errors[1])
    assert slope > method.order - 0.4, errors


class VanDerPol(nn.Module):
    """Its relaxation oscillations at μ = 30."""

    def forward(self, t, y):
        return torch.stack((y[:, 1], 30 * (1 - y[:, 0] ** 2) * y[:, 1] - y[:, 0]), 1)


def slow(t, y):
    return y[0] - 1.5


slow.direction = -1


@pytest.fixture(scope="module")
def radau():
    """Times of both events by SciPy, from two starts."""
    field = [lambda t, y: [y[1], 30 * (1 - y[0] ** 2) * y[1] - y[0]]]
    zero = [lambda t, y: y[0], slow]
    starts = ([2.0, 0.0], [1.8, 0.0])
    options = {"method": "Radau", "events": zero, "rtol": 1e-9, "atol": 1e-9}
    return [solve_ivp(*field, (0.0, 26.0), start, **options).t_events for start in starts]


@pytest.mark.parametrize(
    ("solver", "error"),
    [(Kvaerno5(**TIGHT), 2e-5), (Rodas5P(**TIGHT), 2e-5), (SDIRK3(rtol=1e-5, atol=1e-5), 5e-4)],
)
def test_events_of_a_stiff_field_are_those_of_radau(solver, error, radau):
    """A zero in the jump, and where slow motion passes 1.5.

    The time of a jump is the sum of what came before: errors of the tolerance, grown on the slow piece.
    """
    starts = torch.tensor([[2.0, 0.0], [1.8, 0.0]], dtype=F64)
    events = [Event(lambda t, y: y[:, 0]), Event(lambda t, y: y[:, 0] - 1.5, direction=-1)]
    with torch.no_grad():
        found = solve_with_events(solver, VanDerPol(), starts, [0.0, 26.0], events).events
    for i, theirs in enumerate(radau):
        for ours, times in zip(found, theirs, strict=True):
            assert len(times) == 1
            np.testing.assert_allclose(ours.time[ours.sample == i].numpy(), times, rtol=0, atol=error)


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_times_are_the_same_in_every_mode(mode):
    for solver in (RK4(num_steps=40), Kvaerno5(rtol=1e-5, atol=1e-5)):
        reference = solve_with_events(solver, Spring(), AMPLITUDES, [0.0, END], [WALL])
        with mode():
            again = solve_with_events(solver, Spring(), AMPLITUDES.clone(), [0.0, END], [WALL])
        assert torch.equal(again.events[0].time, reference.events[0].time.detach())
        assert again.stats.nfe_forward == reference.stats.nfe_forward


@pytest.mark.parametrize(
    "solver", [RK4(num_steps=30), Leapfrog(num_steps=60), Kvaerno5(), Reversible(num_steps=40)]
)
def test_a_terminal_event_and_the_account(solver):
    """The solve stops being watched at the event, and every evaluation is in the account."""
    field = Spring()
    counted = EvaluationCounter(field) if not isinstance(solver, Leapfrog) else field
    floor = Event(lambda t, y: y[:, 0] + 0.3, terminal=True)
    ends = []
    for end in (3.0, 3000.0):
        if hasattr(solver, "num_steps") and solver.num_steps:
            solver.num_steps, solver.step_size = None, 0.1
        y0 = AMPLITUDES.clone().requires_grad_()
        solution = solve_with_events(solver, counted, y0, [0.0, 1.0, end], [floor])
        assert solution.reached.tolist() == [[True] * 3, [True] * 3, [False] * 3]
        ends.append(solution.stats.nfe_forward)
        if isinstance(counted, EvaluationCounter):
            assert solution.stats.nfe_forward == counted.reset()
            solution.events[0].time.sum().backward()
            assert solution.stats.nfe_backward == counted.reset()
    # a thousand times the span costs the steps of one chunk more at most
    assert ends[1] < ends[0] + 16 * 10
