"""compile: true changes the speed and nothing else."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from integrand.solvers import RK4, Dopri5, SolverOptionError, TorchDiffEq
from integrand.solvers.runge_kutta.step import step


class Smooth(nn.Module):
    """A float32 network without time, as the benchmarks use it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.outer = nn.Linear(3, 8), nn.Linear(8, 3)

    def forward(self, t, y):
        return self.outer(torch.tanh(self.inner(y)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "mode"),
    [(RK4, {"num_steps": 6}), (Dopri5, {"rtol": 1e-4, "atol": 1e-4, "gradient": "checkpoint"})],
)
def test_same_solution_gradient_and_account(method, mode):
    field, results = Smooth(), []
    for compiled in (False, True):
        y0 = torch.linspace(-1, 1, 12).view(4, 3).requires_grad_()
        solution = method(compile=compiled, **mode).solve(field, y0, [0.0, 0.35, 1.0])
        gradients = torch.autograd.grad(solution.ys.square().sum(), (y0, *field.parameters()))
        results.append((solution, gradients))
    (plain, a), (compiled, b) = results
    # fused kernels round differently: a few float32 ulps per step
    torch.testing.assert_close(compiled.ys, plain.ys, rtol=1e-5, atol=1e-5)
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5)
    assert compiled.stats.nfe_forward == plain.stats.nfe_forward
    assert compiled.stats.nfe_backward == plain.stats.nfe_backward
    assert compiled.stats.vjps == plain.stats.vjps


@pytest.mark.parametrize("method", [RK4, Dopri5])
def test_a_step_is_one_graph(method):
    """Also by a tableau that no plain step has used: what it works out at first use would break the graph."""
    field, tableau = Smooth(), replace(method.tableau)

    def plain(row, y):
        *times, h = row.unbind()
        return step(tableau, field, times, h, y, None, all_stages=True)[0]

    row, y = torch.linspace(0.0, 0.1, tableau.stages + 1), torch.ones(4, 3)
    whole = torch.compile(plain, backend="eager", fullgraph=True)
    torch.testing.assert_close(whole(row, y), plain(row, y))


def test_inapplicable_options_are_refused():
    with pytest.raises(SolverOptionError, match="per_sample"):
        Dopri5(compile=True, per_sample=True)
    with pytest.raises(SolverOptionError, match="autocast"):
        Dopri5(compile=True, autocast=True)


@pytest.mark.slow
def test_adjoint_of_a_compiled_field():
    """At this batch size torchdiffeq alone fails on donated buffers."""
    field = Smooth()
    wide = torch.randn(256, 3)
    gradients = []
    for candidate in (field, torch.compile(field)):
        solver = TorchDiffEq("rk4", num_steps=2, gradient="adjoint")
        ys = solver.solve(candidate, wide.clone().requires_grad_(), [0.0, 1.0]).ys
        gradients.append(torch.autograd.grad(ys[-1].sum(), tuple(field.parameters())))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_outputs_inside_steps_and_stiffness_of_compiled_attempts():
    """Compiled attempts hand out all stages only where an output lies inside the step."""
    field, results = Smooth(), []
    for compiled in (False, True):
        solver = Dopri5(rtol=1e-3, atol=1e-3, first_step=0.5, compile=compiled)
        results.append(solver.solve(field, torch.ones(4, 3), [0.0, 0.1, 0.2, 1.0]))
    plain, compiled = results
    torch.testing.assert_close(compiled.ys, plain.ys, rtol=1e-5, atol=1e-5)
    assert compiled.stats.nfe_forward == plain.stats.nfe_forward
    # float32 differences of close stages: a few digits are left
    assert compiled.stats.stiffness == pytest.approx(plain.stats.stiffness, rel=0.05)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
def test_fixed_steps_are_captured_as_cuda_graphs(gradient):
    """Several solves before their backward passes: what a replay overwrites must not reach either."""
    from torch._dynamo.utils import counters

    field, results = Smooth().cuda(), []
    counters.clear()
    for compiled in (False, True):
        solver = RK4(num_steps=6, gradient=gradient, compile=compiled)
        for _ in range(4):  # graphs are recorded in the second pass and replayed from the third
            y0 = torch.linspace(-1, 1, 12, device="cuda").view(4, 3).requires_grad_()
            first = solver.solve(field, y0, [0.0, 0.35, 1.0]).ys
            second = solver.solve(field, first[-1], [0.0, 1.0]).ys
            loss = first.square().sum() + second.square().sum()
            gradients = torch.autograd.grad(loss, (y0, *field.parameters()))
        results.append((first.detach(), second.detach(), *gradients))
    assert counters["inductor"]["cudagraph_skips"] == 0
    for plain, captured in zip(*results, strict=True):
        torch.testing.assert_close(captured, plain, rtol=1e-4, atol=1e-5)
