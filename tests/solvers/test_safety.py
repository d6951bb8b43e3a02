"""The safety factor of adaptive steps: its law, its effect, and what it leaves alone."""

import pytest
import torch
from torch import nn

from integrand.solvers import RK4, Dopri5, SolverOptionError
from integrand.solvers.step_size import PIDController


class VanDerPol(nn.Module):
    def forward(self, t, y):
        a, b = y.unbind(1)
        return torch.stack((b, 5 * (1 - a * a) * b - a), 1)


@pytest.fixture
def y0():
    return torch.tensor([[2.0, 0.0]], dtype=torch.float64)


def test_law():
    """Integral control with order 4: the step grows by s e^{-1/5}, after a rejection likewise."""
    control = PIDController(4, (0.0, 1.0, 0.0), 0.7)
    assert control.accepted(0.3) == pytest.approx(0.7 * 0.3**-0.2, rel=1e-14)
    assert control.rejected(3.0) == pytest.approx(0.7 * 3.0**-0.2, rel=1e-14)


@pytest.mark.parametrize("per_sample", [False, True])
def test_a_smaller_share_is_rejected_less_often(per_sample, y0):
    def solve(**settings):
        return Dopri5(rtol=1e-6, atol=1e-6, per_sample=per_sample, **settings).solve(
            VanDerPol(), y0, [0.0, 10.0]
        )

    usual, safe = solve(safety=0.95), solve(safety=0.6)
    rejected = (
        int(s.stats.rejected_per_sample[0] if per_sample else s.stats.rejected) for s in (usual, safe)
    )
    assert next(rejected) > 2 * next(rejected)
    exact = Dopri5(rtol=1e-11, atol=1e-11).solve(VanDerPol(), y0, [0.0, 10.0]).ys[-1]
    assert (safe.ys[-1] - exact).norm() < (usual.ys[-1] - exact).norm()


def test_the_default_is_what_it_says(y0):
    usual, named = (Dopri5(safety=s).solve(VanDerPol(), y0, [0.0, 5.0]) for s in (None, 0.8))
    assert torch.equal(usual.ys, named.ys)


@pytest.mark.parametrize(
    "build", [lambda: Dopri5(safety=1.0), lambda: Dopri5(safety=-0.5), lambda: RK4(num_steps=2, safety=0.8)]
)
def test_refusals(build):
    with pytest.raises(SolverOptionError, match="safety"):
        build()
