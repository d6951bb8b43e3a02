"""Methods for stiff fields: order, stability, Newton, modes of autograd, gradients, accounts."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from integrand.solvers import (
    SDIRK3,
    Dopri5,
    Dopri8,
    EvaluationCounter,
    KenCarp4,
    Kvaerno5,
    MaxNFEError,
    Rodas5P,
    SolverError,
    SolverOptionError,
    SplitField,
    count,
)

METHODS = [SDIRK3, Kvaerno5, KenCarp4, Rodas5P]
ITERATED = [SDIRK3, Kvaerno5, KenCarp4]
UNSPLIT = [SDIRK3, Kvaerno5, Rodas5P]


class Stiff(nn.Module):
    """Prothero and Robinson: ẏ = -λ (y - cos t) - sin t, y = cos t from y(0) = 1; dy(T)/dλ = 0 there."""

    def __init__(self, rate=1e4):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(rate, dtype=torch.float64))

    def forward(self, t, y):
        return -self.rate * (y - torch.cos(t)) - torch.sin(t)


class VanDerPol(SplitField):
    """ẏ₁ = y₂, ẏ₂ = μ (1 - y₁²) y₂ - y₁; all of it but -y₁ counts as stiff."""

    def __init__(self, mu=1000.0):
        super().__init__()
        self.mu = mu

    def explicit(self, t, y):
        return torch.stack((torch.zeros_like(y[:, 0]), -y[:, 0]), 1)

    def implicit(self, t, y):
        a, b = y.unbind(1)
        return torch.stack((b, self.mu * ((1 - a * a) * b)), 1)


class Halves(SplitField):
    """Two fields, the second implicit."""

    def __init__(self, explicit, implicit):
        super().__init__()
        self.parts = nn.ModuleList([explicit, implicit])

    def explicit(self, t, y):
        return self.parts[0](t, y)

    def implicit(self, t, y):
        return self.parts[1](t, y)


class Conditioned(nn.Module):
    """A field scaled by a tensor that the caller computed, under whatever mode it was in."""

    def __init__(self, field, scale):
        super().__init__()
        self.field, self.scale = field, scale

    def forward(self, t, y):
        return self.field(t, torch.cat([y * self.scale])) * self.scale


@pytest.fixture
def split(fields):
    return Halves(fields["tanh"](), fields["tanh"](seed=4))


MODES = {"grad": torch.enable_grad, "no_grad": torch.no_grad, "inference": torch.inference_mode}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("wants", [True, False])
def test_modes_of_autograd_change_nothing(method, wants):
    """A zero Jacobian, which inference mode gave, fails here by a thousand times the evaluations."""
    results = {}
    y0 = torch.tensor([[2.0, 0.0], [1.5, 0.1]], dtype=torch.float64)
    for name, mode in MODES.items():
        with mode():
            start = y0.clone().requires_grad_(wants and name == "grad")
            solution = method(rtol=1e-4, atol=1e-4).solve(VanDerPol(), start, [0.0, 5.0, 20.0])
        results[name] = (solution.stats.nfe_forward, solution.stats.accepted, solution.ys.detach().clone())
        # KenCarp4, whose estimate is not damped, takes 1,311
        assert solution.stats.nfe_forward < (2000 if method is KenCarp4 else 700)
    assert results["grad"][:2] == results["no_grad"][:2] == results["inference"][:2]
    assert torch.equal(results["grad"][2], results["no_grad"][2])
    assert torch.equal(results["grad"][2], results["inference"][2])


@pytest.mark.parametrize("method", UNSPLIT)
@pytest.mark.parametrize("options", [{}, {"linear": "gmres"}], ids=["lu", "gmres"])
def test_tensors_made_in_inference_mode_may_condition_a_field(method, options, tanh_net, state):
    if options and method is Rodas5P:
        pytest.skip("factors only")
    solver = method(rtol=1e-4, atol=1e-4, **options)
    with torch.no_grad():
        expected = solver.solve(Conditioned(tanh_net, torch.full((3,), 1.5).double()), state, [0.0, 1.0])
    with torch.inference_mode():
        made = torch.full((3,), 1.5).double()
        found = solver.solve(Conditioned(tanh_net, made), state + 0.0, [0.0, 1.0])
    assert torch.equal(found.ys, expected.ys)
    assert found.stats.nfe_forward == expected.stats.nfe_forward


@pytest.mark.parametrize("method", METHODS)
def test_convergence_slope(method, tanh_net, split, state):
    """On a field that is nonlinear and depends on t, so that Rodas5P's ∂f/∂t is needed."""
    field = split if method is KenCarp4 else tanh_net
    numbers = {SDIRK3: (32, 64, 128), KenCarp4: (32, 64, 96)}.get(method, (16, 24, 32))
    with torch.no_grad():
        truth = Dopri8(num_steps=200).solve(field, state, [0.0, 2.0]).ys[-1]
        ends = [method(num_steps=n).solve(field, state, [0.0, 2.0]).ys[-1] for n in numbers]
    errors = [(end - truth).norm().item() for end in ends]
    # errors of 1e-5 to 1e-8, far above the 1e-12 that Newton leaves
    assert -np.polyfit(np.log(numbers), np.log(errors), 1)[0] == pytest.approx(method.order, abs=0.35)


@pytest.mark.parametrize("method", UNSPLIT)
def test_stiff_problem_needs_few_steps(method):
    one = torch.ones(2, 1, dtype=torch.float64)
    with torch.no_grad():
        stiff = method(rtol=1e-4, atol=1e-4).solve(Stiff(), one, [0.0, 1.0, 2.0])
    exact = torch.tensor([1.0, math.cos(1), math.cos(2)], dtype=torch.float64)[:, None, None].expand(3, 2, 1)
    torch.testing.assert_close(stiff.ys, exact, rtol=0, atol=1e-3)
    assert stiff.stats.accepted < 50


def test_an_explicit_method_needs_many_and_says_why():
    one = torch.ones(2, 1, dtype=torch.float64)
    with torch.no_grad():
        stats = Dopri5(rtol=1e-4, atol=1e-4).solve(Stiff(), one, [0.0, 0.5]).stats
    assert stats.accepted > 750
    assert stats.stiffness > 0.7


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rtol", [1e-3, 1e-4])
@pytest.mark.parametrize("start", [2.0, 2.0 + 2e-9])
def test_no_relaxation_jump_is_lost(method, rtol, start):
    """Van der Pol, μ = 1000, to t = 2000: y₁ = 1.70617 after two jumps (Hairer, Wanner, test set of 1996).

    A lost jump ends on the other branch, y₁ = -1.7 or so. The time of a jump is out by the global error,
    and y₁ changes by 1e-3 in a time of one. A start next to it tells luck: with a damped estimate KenCarp4 ended
    anywhere from 1.70 to 1.98, and once at -1.25, by the rounding of the processor.
    """
    y0 = torch.tensor([[start, 0.0]], dtype=torch.float64)
    with torch.no_grad():
        end = method(rtol=rtol, atol=rtol).solve(VanDerPol(), y0, [0.0, 2000.0]).ys[-1, 0, 0]
    assert end == pytest.approx(1.7061677, abs=0.1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
@pytest.mark.parametrize("mode", [{"num_steps": 40}, {"rtol": 1e-7, "atol": 1e-7}], ids=["fixed", "adaptive"])
def test_gradient_and_account(method, gradient, mode, split, state):
    y0 = state.requires_grad_()
    times = [0.0, 0.4, 1.0]
    with count(*split.parts) as seen:
        field = split if method is KenCarp4 else EvaluationCounter(split)
        if method is SDIRK3 and "rtol" in mode:
            mode = {"rtol": 1e-5, "atol": 1e-5}
        solution = method(gradient=gradient, **mode).solve(field, y0, times)
        parts = 1 if method is KenCarp4 else 2
        assert solution.stats.nfe_forward * parts == seen.calls
        seen.calls = 0
        ours = torch.autograd.grad(solution.ys.square().sum(), (y0, *split.parameters()))
        assert solution.stats.nfe_backward * parts == seen.calls
    assert (solution.stats.nfe_backward > 0) == (gradient == "checkpoint")
    reference = Dopri8(num_steps=60).solve(split, y0, times).ys
    theirs = torch.autograd.grad(reference.square().sum(), (y0, *split.parameters()))
    # third order with 40 steps leaves 1e-4, the others 1e-6
    bound = 1e-3 if method is SDIRK3 else 1e-5
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).norm() <= bound * b.norm()


@pytest.mark.parametrize("method", METHODS)
def test_gradient_is_that_of_the_steps_taken(method, split, state):
    """Few steps, so far from the equation's own gradient, against central differences of the same solve."""
    solver = method(num_steps=4)
    field = split if method is KenCarp4 else split.parts[0]
    y0 = state[:2].requires_grad_()
    (ours,) = torch.autograd.grad(solver.solve(field, y0, [0.0, 1.0]).ys[-1].square().sum(), y0)
    direction = torch.randn(y0.shape, dtype=y0.dtype, generator=torch.Generator().manual_seed(5))

    def value(e):
        with torch.no_grad():
            return solver.solve(field, y0 + e * direction, [0.0, 1.0]).ys[-1].square().sum()

    # differences: truncation e² = 1e-8, Newton's 1e-12 over e = 1e-8; stages are linearised one iterate early
    difference = (value(1e-4) - value(-1e-4)) / 2e-4
    assert (ours * direction).sum().item() == pytest.approx(difference.item(), rel=3e-7)


@pytest.mark.parametrize("method", METHODS)
def test_checkpoint_gives_the_gradient_of_backprop(method):
    """On Van der Pol with Jacobians kept over steps: the steps repeated are those taken."""
    y0 = torch.tensor([[2.0, 0.0], [1.5, 0.1]], dtype=torch.float64, requires_grad=True)
    found = []
    for gradient in ("backprop", "checkpoint"):
        solution = method(rtol=1e-6, atol=1e-6, gradient=gradient).solve(
            VanDerPol(50.0), y0, [0.0, 3.0, 10.0]
        )
        found.append((solution.ys.detach(), torch.autograd.grad(solution.ys.square().sum(), y0)[0]))
    assert torch.equal(found[0][0], found[1][0])
    # the slope at the start of a step has its gradient by another way, equal where Newton ends: 1e-8 here
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("method", UNSPLIT)
@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
def test_gradient_of_a_stiff_problem(method, gradient):
    field = Stiff()
    y0 = torch.ones(2, 1, dtype=torch.float64, requires_grad=True)
    end = method(gradient=gradient).solve(field, y0, [0.0, 1.0]).ys[-1]
    by_y0, by_rate = torch.autograd.grad(end.sum(), (y0, field.rate))
    assert by_y0.abs().max() < 1e-4  # e^{-10000}
    assert abs(by_rate) < 1e-6


class Curved(nn.Module):
    """A stiff scalar field with curvature."""

    def forward(self, t, y):
        return -50 * (y - torch.sin(y) ** 2 * 0.5 - 0.3 * y**2)


def _second(solver):
    y = torch.tensor([[0.7]], dtype=torch.float64, requires_grad=True)
    end = solver.solve(Curved(), y, [0.0, 0.05]).ys[-1].sum()
    (first,) = torch.autograd.grad(end, y, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), y)
    return second.item()


def test_second_derivative_of_rodas5p_is_right():
    # the step's own error at this tolerance, in its second derivative
    assert _second(Rodas5P(1e-6, 1e-6)) == pytest.approx(_second(Dopri8(1e-12, 1e-12)), rel=1e-4)


@pytest.mark.parametrize("method", [SDIRK3, Kvaerno5])
@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
def test_second_derivatives_of_iterated_stages_are_refused(method, gradient):
    with pytest.raises(SolverError, match="second derivative"):
        _second(method(1e-3, 1e-3, gradient=gradient))


def test_large_states_are_refused_by_rodas5p_and_solved_by_products_elsewhere(tanh_net):
    with pytest.raises(SolverOptionError, match="up to 1024 components"):
        Rodas5P().solve(tanh_net, torch.zeros(2, 1025, dtype=torch.float64), [0.0, 1.0])
    n = 1100
    y0 = torch.sin(2 * math.pi * torch.arange(n, dtype=torch.float64) / n).expand(2, n)

    class Diffusion(nn.Module):
        def forward(self, t, y):
            return 300.0 * (y.roll(1, 1) - 2 * y + y.roll(-1, 1)) - y**3

    with torch.no_grad():
        found = Kvaerno5(rtol=1e-5, atol=1e-5).solve(Diffusion(), y0, [0.0, 1.0])
        truth = Dopri5(rtol=1e-8, atol=1e-8).solve(Diffusion(), y0, [0.0, 1.0])
    assert (found.ys[-1] - truth.ys[-1]).abs().max() < 1e-4
    assert found.stats.nfe_forward < truth.stats.nfe_forward / 10
    assert found.stats.vjps < n  # what one dense Jacobian takes


@pytest.mark.parametrize("method", [SDIRK3, Kvaerno5])
@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
def test_products_alone_give_the_gradient_of_factors(method, gradient, tanh_net, state):
    y0 = state.requires_grad_()
    found = []
    for linear in ("lu", "gmres"):
        solution = method(num_steps=10, linear=linear, gradient=gradient).solve(tanh_net, y0, [0.0, 1.0])
        found.append(torch.autograd.grad(solution.ys[-1].square().sum(), (y0, *tanh_net.parameters())))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("shape", [(3,), (2, 1, 2, 2)])
@pytest.mark.parametrize(
    "solver", [Kvaerno5(1e-6, 1e-6), Kvaerno5(1e-6, 1e-6, linear="gmres"), Rodas5P(1e-6, 1e-6)]
)
def test_states_of_any_shape(solver, shape):
    """ẏ = -y³ has y = y0 / √(1 + 2 y0² t)."""

    class Cubic(nn.Module):
        def forward(self, t, y):
            return -(y**3)

    y0 = torch.linspace(0.5, 1.5, math.prod(shape), dtype=torch.float64).view(shape).requires_grad_()
    end = solver.solve(Cubic(), y0, [0.0, 2.0]).ys[-1]
    torch.testing.assert_close(end, y0 / (1 + 4 * y0**2).sqrt(), rtol=1e-5, atol=0)
    (gradient,) = torch.autograd.grad(end.sum(), y0)
    torch.testing.assert_close(gradient, (1 + 4 * y0.detach() ** 2) ** -1.5, rtol=1e-4, atol=0)


@pytest.mark.parametrize("solver", [Kvaerno5(num_steps=10), Rodas5P(num_steps=10)])
def test_a_compiled_field_in_inference_mode(solver, tanh_net, state):
    """Traced, not compiled: what is looked at is how the modes meet."""
    compiled = Conditioned(torch.compile(tanh_net, backend="eager"), torch.full((3,), 1.5).double())
    plain = Conditioned(tanh_net, torch.full((3,), 1.5).double())
    with torch.inference_mode():
        found = solver.solve(compiled, state + 0.0, [0.0, 1.0]).ys
        expected = solver.solve(plain, state + 0.0, [0.0, 1.0]).ys
    torch.testing.assert_close(found, expected)


def test_products_are_counted_where_they_are_made(tanh_net, state):
    """Forward: Jacobians of three components. Backward, per step: one for the first stage, and for each of six
    implicit stages the one that goes on and at least two by which it is solved for."""
    solution = Kvaerno5(num_steps=7).solve(tanh_net, state.requires_grad_(), [0.0, 1.0])
    forward = solution.stats.vjps
    assert forward % 3 == 0
    assert 3 <= forward <= 7 * 3
    solution.ys[-1].sum().backward()
    assert 7 * (1 + 6 * 3) <= solution.stats.vjps - forward <= 7 * (1 + 6 * 8)
    rosenbrock = Rodas5P(num_steps=7).solve(tanh_net, state, [0.0, 1.0]).stats
    assert (rosenbrock.nfe_forward, rosenbrock.vjps) == (7 * 8, 7 * (3 + 2))  # ∂f/∂t takes two


def test_a_field_that_hides_its_time_is_refused_by_rodas5p(state):
    class Hidden(nn.Module):
        def forward(self, t, y):
            return -y * math.cos(t.item())

    with pytest.raises(SolverError, match="no derivative by t"):
        Rodas5P().solve(Hidden(), state, [0.0, 1.0])
    with torch.no_grad():
        end = Kvaerno5(rtol=1e-7, atol=1e-7).solve(Hidden(), state, [0.0, 1.0]).ys[-1]
    torch.testing.assert_close(end, state * math.exp(-math.sin(1)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("times", [[0.0, 0.3, 0.5, 1.0], [1.0, 0.7, 0.0]])
def test_outputs_between_steps_and_backwards(times, tanh_net, state):
    """Rodas5P fills outputs in by order 4, the others step on them."""
    truth = Dopri8(num_steps=100).solve(tanh_net, state, times).ys
    for method in UNSPLIT:
        found = method(rtol=1e-6, atol=1e-6).solve(tanh_net, state, times).ys
        torch.testing.assert_close(found, truth, rtol=1e-4, atol=1e-4)
    few = Rodas5P(rtol=1e-3, atol=1e-3).solve(tanh_net, state, times[:1] + times[-1:]).stats.accepted
    assert Rodas5P(rtol=1e-3, atol=1e-3).solve(tanh_net, state, times).stats.accepted == few


@pytest.mark.parametrize("method", METHODS)
def test_options(method):
    assert method(rtol=1e-3).describe() == f"{method.__name__.lower()} rtol=1e-3 atol=1e-5"
    assert method(num_steps=5).describe() == f"{method.__name__.lower()} num_steps=5"
    with pytest.raises(SolverOptionError, match="both step_size and num_steps"):
        method(step_size=0.1, num_steps=3)
    with pytest.raises(SolverOptionError, match="nothing controls the error"):
        method(num_steps=3, rtol=1e-3)
    with pytest.raises(SolverOptionError, match="must be positive"):
        method(rtol=-1.0)
    y0 = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    with pytest.raises(MaxNFEError, match="max_nfe=30"):
        method(max_nfe=30).solve(VanDerPol(), y0, [0.0, 2000.0])


@pytest.mark.parametrize("method", UNSPLIT)
def test_transforms_of_torch_func_are_refused(method, tanh_net, state):
    with pytest.raises(SolverOptionError, match=r"torch\.func"):
        torch.func.grad(lambda y: method().solve(tanh_net, y, [0.0, 1.0]).ys[-1].sum())(state)


def test_a_field_that_is_not_split_is_refused_by_kencarp4(tanh_net, state):
    with pytest.raises(SolverOptionError, match="split in two, not Tanh"):
        KenCarp4().solve(tanh_net, state, [0.0, 1.0])


def test_kencarp4_takes_no_derivative_of_the_explicit_part(split, state):
    """Its Jacobian alone would need one; where it goes through numpy there is none to take."""

    class Opaque(nn.Module):
        def forward(self, t, y):
            return torch.from_numpy(np.sin(y.detach().numpy()))

    field = Halves(Opaque(), split.parts[1])
    with torch.no_grad():
        truth = Dopri8(num_steps=100).solve(field, state, [0.0, 1.0]).ys[-1]
        end = KenCarp4(rtol=1e-6, atol=1e-6).solve(field, state, [0.0, 1.0]).ys[-1]
    torch.testing.assert_close(end, truth, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_float32_converges_to_its_rounding(method, split, state):
    """Newton cannot go below the rounding of the state; it must not fail for it."""
    field = split.float()
    with torch.no_grad():
        end = method(rtol=1e-5, atol=1e-5).solve(field, state.float(), [0.0, 1.0]).ys[-1]
        fixed = method(num_steps=20).solve(field, state.float(), [0.0, 1.0]).ys[-1]
        truth = Dopri8(num_steps=50).solve(field.double(), state, [0.0, 1.0]).ys[-1]
    torch.testing.assert_close(end.double(), truth, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(fixed.double(), truth, rtol=1e-3, atol=1e-3)
