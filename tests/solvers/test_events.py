"""Events against closed forms, SciPy and torchdiffeq; their gradients against those of closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import nn
from torchdiffeq import odeint_event

from integrand.errors import SpecError
from integrand.solvers import (
    RK4,
    Bosh3,
    Dopri5,
    EvaluationCounter,
    Event,
    Kvaerno5,
    SolverError,
    SolverOptionError,
    TorchDiffEq,
    Tsit5,
    solve_with_events,
)

TIGHT = {"rtol": 1e-10, "atol": 1e-10}
SOLVERS = [
    Dopri5(**TIGHT),
    Tsit5(**TIGHT, gradient="checkpoint"),
    Tsit5(**TIGHT, per_sample=True),
    Bosh3(rtol=1e-9, atol=1e-9),
    RK4(step_size=0.05),
    Kvaerno5(rtol=1e-8, atol=1e-8, gradient="checkpoint"),
]
NAMES = [f"{s.describe()} {s.gradient}" for s in SOLVERS]


class Falling(nn.Module):
    """Height and speed under gravity."""

    def __init__(self, g=9.81):
        super().__init__()
        self.g = nn.Parameter(torch.tensor(g, dtype=torch.float64))

    def forward(self, t, y):
        return torch.cat((y[:, 1:], -self.g * torch.ones_like(y[:, :1])), 1)


def height(t, y):
    return y[:, 0]


def bounce(t, y):
    return torch.cat((0 * y[:, :1], -0.8 * y[:, 1:]), 1)


HEIGHTS = torch.tensor([[1.0, 0.0], [2.5, 0.0], [50.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize("solver", SOLVERS, ids=NAMES)
def test_a_ball_that_bounces(solver):
    """Heights fall as h − g t²/2; speeds at the floor are √(2 g h), each bounce keeps 0.8 of them.

    The third ball does not reach the floor. Gradients by the heights and by g are those of the closed form.
    """
    field, y0 = Falling(), HEIGHTS.clone().requires_grad_()
    end = 1.6
    solution = solve_with_events(
        solver, field, y0, [0.0, 0.9, end], [Event(height, direction=-1, jump=bounce)]
    )
    g, h = field.g, y0[:2, 0]
    first = (2 * h / g).sqrt()
    speed = (2 * g * h).sqrt()
    # after bounce number i the ball flies for 2 · 0.8^i v / g
    times = [[first[0], first[0] * (1 + 2 * 0.8), first[0] * (1 + 2 * 0.8 + 2 * 0.64)], [first[1]]]
    bounces = [sum(t.item() < end for t in row) for row in times]
    expected = torch.stack([t for row, n in zip(times, bounces, strict=True) for t in row[:n]])
    happened = solution.events[0]
    order = torch.argsort(happened.sample, stable=True)
    assert happened.sample[order].tolist() == [0] * bounces[0] + [1] * bounces[1]
    torch.testing.assert_close(happened.time[order], expected, rtol=1e-7, atol=1e-7)
    ends = []
    for row, n, v in zip(times, bounces, speed, strict=True):
        flown = end - row[n - 1]
        ends.append(v * 0.8**n * flown - g * flown**2 / 2)
    ends.append(y0[2, 0] - g * end**2 / 2)
    torch.testing.assert_close(solution.ys[-1, :, 0], torch.stack(ends), rtol=1e-6, atol=1e-7)
    for ours, theirs in (
        (happened.time[order].square().sum(), expected.square().sum()),
        (solution.ys[-1, :, 0].sum(), torch.stack(ends).sum()),
    ):
        got = torch.autograd.grad(ours, (field.g, y0), retain_graph=True)
        exact = torch.autograd.grad(theirs, (field.g, y0), retain_graph=True)
        torch.testing.assert_close(got[0], exact[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(got[1][:, 0], exact[1][:, 0], rtol=1e-5, atol=1e-6)
    assert solution.reached.all()
    assert solution.end.tolist() == [end] * 3


@pytest.mark.parametrize("solver", SOLVERS[:3], ids=NAMES[:3])
def test_a_terminal_event_is_torchdiffeqs(solver):
    """Time, state and the gradients of both, one sample at a time there, all together here."""
    field = Falling()
    y0 = HEIGHTS[:2].clone().requires_grad_()
    solution = solve_with_events(solver, field, y0, [0.0, 0.3, 5.0], [Event(height, terminal=True)])
    happened = solution.events[0]
    ours = torch.autograd.grad(happened.time.sum() + happened.state[:, 1].sum(), (y0, field.g))
    theirs = [torch.zeros_like(y0), torch.zeros_like(field.g)]
    for i in range(2):
        start = HEIGHTS[i : i + 1].clone().requires_grad_()
        time, states = odeint_event(
            field,
            start,
            torch.tensor(0.0, dtype=torch.float64),
            event_fn=lambda t, y: y[0, 0],
            atol=1e-10,
            rtol=1e-10,
        )
        assert happened.time[happened.sample == i].item() == pytest.approx(time.item(), rel=1e-7)
        by_y, by_g = torch.autograd.grad(time + states[-1][0, 1], (start, field.g))
        theirs[0][i], theirs[1] = by_y[0], theirs[1] + by_g
    torch.testing.assert_close(ours, tuple(theirs), rtol=1e-5, atol=1e-6)
    assert solution.reached.tolist() == [[True, True], [True, True], [False, False]]
    torch.testing.assert_close(solution.ys[-1], happened.state[torch.argsort(happened.sample)])
    torch.testing.assert_close(solution.end, happened.time[torch.argsort(happened.sample)].detach())


class Pendulum(nn.Module):
    def forward(self, t, y):
        return torch.cat((y[:, 1:], -torch.sin(y[:, :1]) + 0.1 * torch.cos(3 * t)), 1)


@pytest.mark.parametrize("direction", [-1, 0, 1])
@pytest.mark.parametrize("span", [(0.0, 12.0), (3.0, -6.0)])
def test_events_that_do_not_end_a_solve_are_scipys(direction, span):
    y0 = torch.tensor([[0.5, 0.0], [1.9, 0.3]], dtype=torch.float64)
    # the direction of an event is that of growing s: backwards in time signs swap, as SciPy's do
    solution = solve_with_events(Dopri5(**TIGHT), Pendulum(), y0, span, [Event(height, direction=direction)])
    happened = solution.events[0]
    for i in range(2):

        def flat(t, y):
            return [y[1], -math.sin(y[0]) + 0.1 * math.cos(3 * t)]

        def crossing(t, y):
            return y[0]

        crossing.direction = direction
        theirs = solve_ivp(flat, span, y0[i].numpy(), events=crossing, rtol=1e-11, atol=1e-11)
        mine = happened.time[happened.sample == i].detach().numpy()
        np.testing.assert_allclose(mine, theirs.t_events[0], rtol=1e-7)
        np.testing.assert_allclose(solution.ys[-1, i].numpy(), theirs.y[:, -1], rtol=1e-6, atol=1e-7)


def test_two_events_and_a_time_dependent_one():
    """A gate that closes at t = 0.35 ends the solve before the floor of the higher ball."""
    gate = Event(lambda t, y: t.flatten() - 0.35, terminal=True)
    floor = Event(height, terminal=True)
    y0 = torch.tensor([[0.2, 0.0], [2.0, 0.0]], dtype=torch.float64)
    solution = solve_with_events(Dopri5(**TIGHT), Falling(10.0), y0, [0.0, 1.0], [gate, floor])
    assert solution.events[0].sample.tolist() == [1]
    assert solution.events[1].sample.tolist() == [0]
    torch.testing.assert_close(
        solution.end, torch.tensor([0.2, 0.35], dtype=torch.float64), rtol=1e-9, atol=0
    )
    assert solution.ys[-1, 1, 0].item() == pytest.approx(2 - 5 * 0.35**2, rel=1e-7)


def test_the_account_and_solves_without_graph():
    counter = EvaluationCounter(Falling())
    event = Event(height, direction=-1, jump=bounce)
    with torch.no_grad():
        plain = solve_with_events(Dopri5(), counter, HEIGHTS, [0.0, 1.0], [event])
    assert plain.stats.nfe_forward == counter.reset()
    y0 = HEIGHTS.clone().requires_grad_()
    kept = solve_with_events(Dopri5(gradient="checkpoint"), counter, y0, [0.0, 1.0], [event])
    assert kept.stats.nfe_forward == counter.reset()
    torch.testing.assert_close(kept.ys, plain.ys)
    kept.ys.sum().backward()
    assert kept.stats.nfe_backward == counter.reset() > 0


def test_what_cannot_be_watched_is_refused():
    event = Event(height, direction=-1, jump=bounce)
    with pytest.raises(SolverOptionError, match="use Dopri5"):
        solve_with_events(TorchDiffEq(), Falling(), HEIGHTS, [0.0, 1.0], [event])
    with pytest.raises(SpecError, match="common times"):
        solve_with_events(Dopri5(), Falling(), HEIGHTS, [0.0], [event])
    with pytest.raises(SolverError, match="sample 0 jumped more than 4 times"):
        solve_with_events(Dopri5(), Falling(), HEIGHTS, [0.0, 60.0], [event], max_rounds=4)
    with pytest.raises(SpecError, match="one number for each sample"):
        solve_with_events(Dopri5(), Falling(), HEIGHTS, [0.0, 1.0], [Event(lambda t, y: y)])
