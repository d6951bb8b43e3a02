"""Solves that cannot go on end with a typed error, in every mode, and within their budget."""

import math

import pytest
import torch
from torch import nn

from integrand.solvers import (
    SDIRK3,
    Dopri5,
    EvaluationCounter,
    MaxNFEError,
    Status,
    TorchDiffEq,
    Tsit5,
)


class Waves(nn.Module):
    """ẏ = a cos(ω t), one ω for each sample: y(t) = a sin(ω t) / ω."""

    def __init__(self, *omega):
        super().__init__()
        self.a = nn.Parameter(torch.ones((), dtype=torch.float64))
        self.omega = torch.tensor(omega, dtype=torch.float64)[:, None]

    def forward(self, t, y):
        return self.a * torch.cos(self.omega * t) + 0 * y


class Steep(nn.Module):
    """ẏ = 1e15: divided by a tolerance of 1e-5 its square leaves float32."""

    def forward(self, t, y):
        return torch.full_like(y, 1e15)


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
@pytest.mark.parametrize("batch", [1, 3])
def test_exhausted_evaluations_of_samples_are_typed(gradient, batch):
    field, y0 = Waves(*[300.0] * batch), torch.zeros(batch, 1, dtype=torch.float64)
    solver = Dopri5(per_sample=True, max_nfe=100, gradient=gradient)
    with pytest.raises(MaxNFEError, match=r"max_nfe=100 at t=0\.\d+"):
        solver.solve(field, y0, [0.0, 5.0])


def test_samples_whose_evaluations_run_out_do_not_stop_the_others():
    field, y0 = Waves(1.0, 300.0), torch.zeros(2, 1, dtype=torch.float64)
    solver = Dopri5(per_sample=True, max_nfe=400, gradient="checkpoint", on_failure="continue")
    solution = solver.solve(field, y0, [0.0, 5.0])
    assert solution.status is Status.PARTIAL
    assert solution.failed.tolist() == [False, True]
    assert solution.stats.nfe_forward <= 400
    assert solution.ys[-1, 0].item() == pytest.approx(math.sin(5.0), abs=1e-4)
    solution.ys[-1, 0].sum().backward()
    assert field.a.grad.item() == pytest.approx(math.sin(5.0), abs=1e-4)


@pytest.mark.parametrize("solver", [Dopri5(), Tsit5(per_sample=True), SDIRK3(), TorchDiffEq("dopri5")])
def test_a_field_whose_norm_overflows_is_solved(solver):
    """A constant field is integrated exactly by every method; only the norms that choose the step overflow."""
    field = EvaluationCounter(Steep())
    end = solver.solve(field, torch.ones(2, 2), [0.0, 1.0]).ys[-1]
    torch.testing.assert_close(end, torch.full((2, 2), 1e15), rtol=1e-5, atol=0)
    assert field.reset() < 1000


def test_a_sample_that_overflows_leaves_the_first_step_of_the_others():
    class Mixed(nn.Module):
        def forward(self, t, y):
            return y * torch.tensor([[1.0], [1e30]])

    solution = Dopri5(max_nfe=5000, gradient="checkpoint", per_sample=True, on_failure="continue").solve(
        Mixed(), torch.ones(2, 1), [0.0, 1.0]
    )
    assert solution.failed.tolist() == [False, True]
    assert solution.ys[-1, 0].item() == pytest.approx(math.e, rel=1e-4)


def test_solves_that_choose_their_steps_have_a_budget():
    for solver in (Dopri5(), Dopri5(per_sample=True), SDIRK3(), TorchDiffEq("dopri5")):
        assert solver.max_nfe == 1_000_000
    assert Dopri5(num_steps=3).max_nfe is None
    assert TorchDiffEq("rk4", num_steps=3).max_nfe is None
