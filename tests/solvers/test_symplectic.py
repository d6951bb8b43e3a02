"""Symplectic methods: order, structure, reversal, and gradients in constant memory."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from integrand.errors import SpecError
from integrand.registry import subclasses
from integrand.solvers import (
    Dopri8,
    ImplicitMidpoint,
    Leapfrog,
    MaxNFEError,
    Nystrom4,
    SecondOrderField,
    SeparableField,
    SolverError,
    SolverOptionError,
    Yoshida4,
    Yoshida6,
    odeint,
)
from integrand.solvers.symplectic.base import SplittingSolver, SymplecticSolver

F64 = torch.float64


def concrete(base):
    """Every method, found by its base class."""
    return sorted((c for c in subclasses(base) if c is not SplittingSolver), key=lambda c: c.__name__)


METHODS = concrete(SymplecticSolver)
SPLITTINGS = concrete(SplittingSolver)
GENERAL = [m for m in METHODS if not getattr(m, "second_order_only", False)]


class Kepler(SecondOrderField):
    """q̈ = -q / |q|³; energy |p|²/2 - 1/|q| and angular momentum q × p are kept."""

    def force(self, t, q):
        return -q / q.norm(dim=1, keepdim=True) ** 3

    @staticmethod
    def energy(y):
        q, p = y.chunk(2, dim=-1)
        return p.square().sum(-1) / 2 - 1 / q.norm(dim=-1)

    @staticmethod
    def momentum(y):
        return y[..., 0] * y[..., 3] - y[..., 1] * y[..., 2]

    @staticmethod
    def start(eccentricity):
        low, high = 1 - eccentricity, math.sqrt((1 + eccentricity) / (1 - eccentricity))
        return torch.tensor([[low, 0.0, 0.0, high]], dtype=F64)


class Driven(SeparableField):
    """Nonlinear in q, in p and in t, with weights; both parts are gradients."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.7, dtype=F64))
        self.b = nn.Parameter(torch.tensor(1.3, dtype=F64))

    def velocity(self, t, p):
        return self.a * torch.sin(p) * torch.cos(t) + p

    def force(self, t, q):
        return -self.b * q**3 + torch.cos(2 * q) * torch.sin(3 * t)


class Oscillators(SecondOrderField):
    """A network's potential: force = -∇V(q), V = w · log cosh(Aq), twice differentiable."""

    def __init__(self, d=3):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.a = nn.Parameter(torch.randn(5, d, dtype=F64, generator=generator))
        self.w = nn.Parameter(torch.rand(5, dtype=F64, generator=generator) + 0.5)

    def force(self, t, q):
        return -(torch.tanh(q @ self.a.T) * self.w) @ self.a - 0.5 * q


def field_for(method):
    return Oscillators(2) if getattr(method, "second_order_only", False) else Driven()


@pytest.fixture
def y0():
    return torch.tensor([[0.5, 0.2, 0.3, -0.4], [0.1, -0.6, 0.2, 0.7]], dtype=F64)


@pytest.mark.parametrize("method", METHODS)
def test_order(method, y0):
    field = field_for(method)
    with torch.no_grad():
        exact = Dopri8(rtol=1e-13, atol=1e-13).solve(field, y0, [0.3, 3.3]).ys[-1]
        numbers = (40, 80, 160) if method.order < 6 else (30, 45, 60)
        errors = [(method(num_steps=n).solve(field, y0, [0.3, 3.3]).ys[-1] - exact).norm() for n in numbers]
    slope = -np.polyfit(np.log(numbers), np.log([e.item() for e in errors]), 1)[0]
    assert slope == pytest.approx(method.order, abs=0.2)


@pytest.mark.parametrize("method", SPLITTINGS)
def test_coefficients(method):
    kicks, drifts = method.splitting.kicks, method.splitting.drifts
    assert sum(kicks) == pytest.approx(1, abs=1e-14)
    assert sum(drifts) == pytest.approx(1, abs=1e-14)
    assert kicks == kicks[::-1]
    assert drifts == drifts[::-1]
    assert len(kicks) == len(drifts) + 1


def test_nystrom_is_worth_its_restriction():
    """At equal evaluations a hundredth of Yoshida's error on Kepler's orbit, or the coefficients have slipped."""
    y0, field = Kepler.start(0.5), Kepler()
    exact = Dopri8(rtol=1e-13, atol=1e-13).solve(field, y0, [0.0, 3.0]).ys[-1]
    ours, theirs = (
        Nystrom4(num_steps=100).solve(field, y0, [0.0, 3.0]),
        Yoshida4(num_steps=200).solve(field, y0, [0.0, 3.0]),
    )
    assert ours.stats.nfe_forward == theirs.stats.nfe_forward == 601
    assert (ours.ys[-1] - exact).norm() < 0.01 * (theirs.ys[-1] - exact).norm()


@pytest.mark.parametrize("method", METHODS)
def test_energy_does_not_drift(method):
    """Over 20 orbits the energy error stays what it was in the first half; an explicit RK4's doubles."""
    times = torch.linspace(0, 40 * math.pi, 201, dtype=F64)
    # about 60 evaluations an orbit for the splittings
    solver = method(step_size=0.1 * len(method.splitting.drifts) if hasattr(method, "splitting") else 0.1)
    with torch.no_grad():
        ys = solver.solve(Kepler(), Kepler.start(0.2), times).ys[:, 0]
    error = (Kepler.energy(ys) - Kepler.energy(ys[0])).abs()
    assert error[101:].max() < 1.5 * error[1:101].max()
    # quadratic invariants are kept exactly, up to the rounding of some thousand steps
    assert (Kepler.momentum(ys) - Kepler.momentum(ys[0])).abs().max() < 1e-10


@pytest.mark.parametrize("method", METHODS)
def test_symplectic_to_rounding(method, y0):
    """JᵀΩJ = Ω for the derivative J of five large steps: no step size makes an explicit RK4 do that."""
    field, solver = field_for(method), method(num_steps=5)
    y = y0[:1]
    jacobian = torch.autograd.functional.jacobian(
        lambda x: solver.solve(field, x.unsqueeze(0), [0.0, 1.0]).ys[-1, 0], y[0]
    )
    zero, one = torch.zeros(2, 2, dtype=F64), torch.eye(2, dtype=F64)
    omega = torch.cat((torch.cat((zero, one), 1), torch.cat((-one, zero), 1)))
    torch.testing.assert_close(jacobian.T @ omega @ jacobian, omega, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_back_again(method, y0):
    """Symmetric methods: the solve from t₁ to t₀ undoes the one from t₀ to t₁ up to rounding."""
    field, solver = field_for(method), method(num_steps=50)
    with torch.no_grad():
        there = solver.solve(field, y0, [0.3, 4.3]).ys[-1]
        back = solver.solve(field, there, [4.3, 0.3]).ys[-1]
    torch.testing.assert_close(back, y0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("times", [[0.0, 1.0], [1.0, 0.4, 0.0]])
@pytest.mark.parametrize("method", METHODS)
def test_reversible_gradient_is_backprops(method, times, y0):
    field, y0 = field_for(method), y0.requires_grad_()

    def gradient(mode):
        solution = method(num_steps=20, gradient=mode).solve(field, y0, times)
        found = torch.autograd.grad(solution.ys.square().sum(), (y0, *field.parameters()))
        return solution, found

    ours, theirs = gradient("reversible"), gradient("backprop")
    torch.testing.assert_close(ours[0].ys, theirs[0].ys, rtol=0, atol=1e-14)
    for a, b in zip(ours[1], theirs[1], strict=True):
        # the states are rebuilt to rounding, some 1e-15 a step
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("method", METHODS)
def test_gradient_by_finite_differences(method, y0):
    field = field_for(method)

    def end(y, *weights):
        state = dict(zip((n for n, _ in field.named_parameters()), weights, strict=True))
        return torch.func.functional_call(
            _Solve(field, method(num_steps=4)), {f"field.{k}": v for k, v in state.items()}, (y,)
        )

    torch.autograd.gradcheck(end, (y0[:1].requires_grad_(), *field.parameters()))


class _Solve(nn.Module):
    def __init__(self, field, solver):
        super().__init__()
        self.field, self.solver = field, solver

    def forward(self, y):
        return self.solver.solve(self.field, y, [0.0, 1.0]).ys[-1]


@pytest.mark.parametrize("method", METHODS)
def test_memory_does_not_grow_with_the_steps(method, y0):
    field = field_for(method)

    def kept(n):
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x.numel()) or x, lambda x: x):
            method(num_steps=n, gradient="reversible").solve(field, y0.requires_grad_(), [0.0, 1.0])
        return sum(saved)

    assert kept(10) == kept(40) > 0


@pytest.mark.parametrize("gradient", ["backprop", "reversible"])
@pytest.mark.parametrize("method", SPLITTINGS)
def test_evaluations_are_counted(method, gradient, y0):
    calls = []

    class Counting(Oscillators):
        def force(self, t, q):
            calls.append(0)
            return super().force(t, q)

    solution = method(num_steps=7, gradient=gradient).solve(Counting(2), y0.requires_grad_(), [0.0, 1.0])
    drifts = len(method.splitting.drifts)
    assert solution.stats.nfe_forward == len(calls) == 1 + 7 * drifts
    calls.clear()
    solution.ys.sum().backward()
    assert solution.stats.nfe_backward == len(calls) == (0 if gradient == "backprop" else 1 + 2 * 7 * drifts)
    assert solution.stats.vjps == 1 + 7 * drifts


def test_evaluations_of_the_implicit_rule_are_counted(y0):
    calls = []

    class Counting(Driven):
        def forward(self, t, y):
            calls.append(0)
            return super().forward(t, y)

    for gradient in ImplicitMidpoint.gradients:
        calls.clear()
        solution = ImplicitMidpoint(num_steps=5, gradient=gradient).solve(
            Counting(), y0.requires_grad_(), [0.0, 1.0]
        )
        forward = len(calls)
        assert solution.stats.nfe_forward == forward
        solution.ys.sum().backward()
        assert solution.stats.nfe_backward == len(calls) - forward
        # the transposed iteration takes several products for each of the five steps
        assert solution.stats.vjps > 10


class Coupled(nn.Module):
    """H = (1 + q²)(1 + p²) / 2, which does not separate; kept by the flow."""

    def forward(self, t, y):
        q, p = y.chunk(2, dim=1)
        return torch.cat(((1 + q**2) * p, -(1 + p**2) * q), dim=1)


def test_a_hamiltonian_that_does_not_separate():
    y0 = torch.tensor([[0.8, 0.3]], dtype=F64)
    times = torch.linspace(0, 100, 101, dtype=F64)
    with torch.no_grad():
        ys = ImplicitMidpoint(step_size=0.1).solve(Coupled(), y0, times).ys[:, 0]
    energy = (1 + ys[:, 0] ** 2) * (1 + ys[:, 1] ** 2) / 2
    error = (energy - energy[0]).abs()
    assert error[51:].max() < 1.5 * error[1:51].max()
    jacobian = torch.autograd.functional.jacobian(
        lambda x: ImplicitMidpoint(num_steps=3).solve(Coupled(), x.unsqueeze(0), [0.0, 1.0]).ys[-1, 0], y0[0]
    )
    # in the plane symplectic is area-preserving
    assert torch.linalg.det(jacobian) == pytest.approx(1, abs=1e-12)


def test_float32(y0):
    """The iteration ends at float32's rounding too."""
    solution = ImplicitMidpoint(num_steps=10).solve(Driven().float(), y0.float(), [0.0, 1.0])
    wide = ImplicitMidpoint(num_steps=10).solve(Driven(), y0, [0.0, 1.0])
    torch.testing.assert_close(solution.ys.double(), wide.ys, rtol=0, atol=1e-5)


def test_a_separable_field_is_a_field(y0):
    """Any other solver takes it, and odeint names these methods."""
    field = Driven()
    exact = odeint(field, y0, [0.0, 1.0], method="Dopri8", rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(
        odeint(field, y0, [0.0, 1.0], method="Yoshida6", num_steps=60), exact, rtol=0, atol=1e-8
    )


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda y: Leapfrog(), SolverOptionError, "neither"),
        (lambda y: Yoshida6(num_steps=3, step_size=0.1), SolverOptionError, "both"),
        (lambda y: Leapfrog(num_steps=3, gradient="checkpoint"), SolverOptionError, "gradient"),
        (lambda y: SplittingSolver(num_steps=3), (SolverOptionError, TypeError), "base|abstract"),
        (lambda y: Leapfrog(num_steps=3).solve(Coupled(), y, [0.0, 1.0]), SpecError, "ImplicitMidpoint"),
        (lambda y: Nystrom4(num_steps=3).solve(Driven(), y, [0.0, 1.0]), SpecError, "SecondOrderField"),
        (lambda y: Leapfrog(num_steps=3).solve(Driven(), y[:, :3], [0.0, 1.0]), SpecError, "q and p"),
        (
            lambda y: Leapfrog(num_steps=30, max_nfe=9).solve(Driven(), y, [0.0, 1.0]),
            MaxNFEError,
            "max_nfe=9",
        ),
        (
            lambda y: ImplicitMidpoint(num_steps=1).solve(Driven(), 3 * y, [0.0, 20.0]),
            SolverError,
            "smaller steps|not finite",
        ),
    ],
)
def test_refusals_say_what_is_wrong(call, error, words, y0):
    with pytest.raises(error, match=words):
        call(y0)


@pytest.mark.parametrize(
    "solver",
    [Leapfrog(num_steps=3, gradient="reversible"), ImplicitMidpoint(num_steps=3)],
    ids=["leapfrog", "midpoint"],
)
def test_second_derivatives_are_refused_where_they_would_be_lost(solver, y0):
    ys = solver.solve(Driven(), y0.requires_grad_(), [0.0, 1.0]).ys
    with pytest.raises(SolverError, match="second derivative"):
        torch.autograd.grad(ys.square().sum(), y0, create_graph=True)


def test_second_derivatives_through_backprop(y0):
    torch.autograd.gradgradcheck(
        lambda y: Leapfrog(num_steps=2).solve(Driven(), y, [0.0, 0.5]).ys[-1], (y0[:1].requires_grad_(),)
    )
