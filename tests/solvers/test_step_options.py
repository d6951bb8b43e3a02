"""Jumps of the field, gains of the step control, shortest steps, tolerances of components."""

import math

import pytest
import torch
from torch import nn

from integrand.solvers import (
    RK4,
    Bosh3,
    Dopri5,
    Dopri8,
    Heun,
    SolverOptionError,
    StepUnderflowError,
    Tsit5,
)
from integrand.solvers.step_size import SAFETY, PIDController

HALF = torch.zeros(3, 1, dtype=torch.float64)


class Switch(nn.Module):
    """ẏ = a for t < 1, −2a from then on: y(2) = y(0) − a."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, t, y):
        return self.a * torch.where(t < 1, 1.0, -2.0) + 0 * y


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("times", [[0.0, 2.0], [2.0, 0.0], [0.0, 1.0, 1.5, 2.0], [1.0, 2.0]])
@pytest.mark.parametrize(
    "make",
    [
        lambda **k: RK4(num_steps=3, **k),
        lambda **k: Dopri5(**k),
        lambda **k: Dopri8(**k),
        lambda **k: Heun(**k),
        lambda **k: Tsit5(per_sample=True, **k),
        lambda **k: Heun(per_sample=True, **k),
    ],
)
def test_a_jump_of_the_field_costs_no_accuracy(make, times, dtype, gradient):
    """Every method is exact on a constant field, so any stage on the wrong side of the jump shows."""
    field = Switch().to(dtype)
    solution = make(jump_t=[1.0, 7.0], gradient=gradient).solve(field, HALF.to(dtype), times)
    expected = [(t if t <= 1 else 3 - 2 * t) for t in times]
    expected = torch.tensor([e - expected[0] for e in expected], dtype=dtype)
    torch.testing.assert_close(
        solution.ys[:, 0, 0], expected, rtol=0, atol=1e-13 if dtype.itemsize == 8 else 3e-6
    )
    assert solution.stats.rejected == 0
    solution.ys[-1, 0].sum().backward()
    assert field.a.grad.item() == pytest.approx(expected[-1].item(), abs=1e-5)


def test_without_knowing_the_jump_steps_are_rejected():
    assert Dopri5().solve(Switch(), HALF, [0.0, 2.0]).stats.rejected > 3


class Rough(nn.Module):
    """Fast in one component, slow and large in the other."""

    def forward(self, t, y):
        fast, slow = y[:, :1], y[:, 1:]
        return torch.cat((50 * torch.cos(50 * t) + 0 * fast, 1e3 * torch.cos(t) + 0 * slow), 1)


def test_tolerances_of_components():
    """Loosening the fast component saves its steps; what is asked of the slow one is kept."""
    y0 = torch.zeros(2, 2, dtype=torch.float64)
    exact = torch.tensor([math.sin(50 * 3.0), 1e3 * math.sin(3.0)], dtype=torch.float64)
    for mode in ({}, {"per_sample": True}):
        tight = Dopri5(rtol=1e-9, atol=1e-6, **mode).solve(Rough(), y0, [0.0, 3.0])
        same = Dopri5(rtol=[1e-9, 1e-9], atol=[1e-6, 1e-6], **mode).solve(Rough(), y0, [0.0, 3.0])
        loose = Dopri5(rtol=1e-9, atol=[10.0, 1e-6], **mode).solve(Rough(), y0, [0.0, 3.0])
        relative = Dopri5(rtol=[1e-9, 1.0], atol=1e-6, **mode).solve(Rough(), y0, [0.0, 3.0])
        torch.testing.assert_close(same.ys, tight.ys, rtol=0, atol=1e-8)
        assert same.stats.nfe_forward == tight.stats.nfe_forward
        assert loose.stats.nfe_forward < 0.5 * tight.stats.nfe_forward
        assert (loose.ys[-1, :, 1] - exact[1]).abs().max() < 1e-4
        assert (relative.ys[-1, :, 0] - exact[0]).abs().max() < 1e-4
    assert Dopri5(rtol=[1e-3, 1e-2]).describe() == "dopri5 rtol=1e-3..1e-2 atol=1e-5"
    with pytest.raises(SolverOptionError, match="rtol must be positive"):
        Dopri5(rtol=[1e-3, 0.0])
    with pytest.raises(SolverOptionError, match="compile"):
        Dopri5(rtol=[1e-3, 1e-2], compile=True)
    with pytest.raises(SolverOptionError, match="3 tolerances do not fit"):
        Dopri5(rtol=[1e-3, 1e-2, 1e-3]).solve(Rough(), y0, [0.0, 1.0])


class Spike(nn.Module):
    """A spike of width 1e-4 at t = 1 and height 1e4: y jumps by about 1.77."""

    def forward(self, t, y):
        return 1e4 * torch.exp(-(((t - 1) * 1e4) ** 2)) * torch.ones_like(y)


@pytest.mark.parametrize("mode", [{}, {"per_sample": True}])
def test_the_shortest_step_fails_or_is_forced(mode):
    """The spike needs steps of 1e-5; with jump_t it is met."""
    settings = {**mode, "jump_t": [1.0], "first_step": 0.01, "max_step": 0.1}
    free = Dopri5(**settings).solve(Spike(), HALF, [0.0, 2.0])
    assert free.stats.min_step < 1e-3
    with pytest.raises(StepUnderflowError):
        Dopri5(min_step=1e-2, **settings).solve(Spike(), HALF, [0.0, 2.0])
    forced = Dopri5(min_step=1e-2, force_min_step=True, **settings).solve(Spike(), HALF, [0.0, 2.0])
    assert forced.stats.min_step >= 0.9e-2 or forced.stats.accepted < 220
    assert forced.stats.nfe_forward < free.stats.nfe_forward
    with pytest.raises(SolverOptionError, match="min_step"):
        Dopri5(force_min_step=True)
    with pytest.raises(SolverOptionError, match="does not take min_step"):
        Dopri5(num_steps=3, min_step=0.1)


def test_the_law_of_the_gains():
    """Söderlind (2003): e_n^{−(P+I+D)/k} e_{n−1}^{(P+2D)/k} e_{n−2}^{−D/k}."""
    p, i, d = 0.2, 0.7, 0.05
    controller, errors = PIDController(4, (p, i, d)), [1.0, 1.0]
    for error in (0.5, 0.9, 0.2, 0.4):
        expected = (
            SAFETY * error ** (-(p + i + d) / 5) * errors[-1] ** ((p + 2 * d) / 5) * errors[-2] ** (-d / 5)
        )
        assert controller.accepted(error) == pytest.approx(expected, rel=1e-12)
        errors.append(error)


def test_gains_in_solves():
    """A sample alone under per_sample takes the steps of a batch of one."""
    y0 = torch.tensor([[0.3, 1.0]], dtype=torch.float64)
    rejected = 0
    for method in (Bosh3, Dopri5):
        settings = {"rtol": 1e-3, "atol": 1e-3, "pid": (0.3, 0.5, 0.1), "first_step": 1e-3}
        batch = method(**settings).solve(Rough(), y0, [0.0, 1.0])
        alone = method(per_sample=True, **settings).solve(Rough(), y0, [0.0, 1.0])
        assert (alone.stats.accepted, alone.stats.rejected) == (batch.stats.accepted, batch.stats.rejected)
        rejected += batch.stats.rejected
        integral = method(**{**settings, "pid": None}).solve(Rough(), y0, [0.0, 1.0])
        assert integral.stats.step_sizes != batch.stats.step_sizes
    assert rejected
    with pytest.raises(SolverOptionError, match="three gains"):
        Dopri5(pid=(0.1, 0.2))
    with pytest.raises(SolverOptionError, match="does not take pid"):
        Dopri5(num_steps=4, pid=(0.1, 0.8, 0.0))
