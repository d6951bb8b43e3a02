"""The identities that define the families of mechanics, in float64 and at random weights."""

import pytest
import torch
from torch import nn

from integrand.errors import UsageError
from integrand.modules.bench.vector import VectorField
from integrand.modules.trajectory.hamiltonian_nn import HamiltonianField
from integrand.modules.trajectory.lagrangian_nn import LagrangianField
from integrand.modules.trajectory.mechanics import OnCircles, degrees_of_freedom
from integrand.modules.trajectory.port_hamiltonian_nn import PortHamiltonianField
from integrand.modules.trajectory.symplectic_nn import LearnedSeparableField
from integrand.solvers import Dopri5, EvaluationCounter, TorchDiffEq
from integrand.solvers.symplectic import Leapfrog

T = torch.zeros((), dtype=torch.float64)
ROUND_OFF = {"rtol": 1e-12, "atol": 1e-12}
"""Sums of a few dozen products in float64."""


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def states(channels, batch=5):
    return torch.randn(batch, channels, dtype=torch.float64)


def net(channels, out=1):
    """A field with weights large enough to be far from linear."""
    made = VectorField(channels, out).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(3)
    return made


class Given(nn.Module):
    """A function written down instead of learned."""

    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, t, y):
        return self.f(y)


def jacobians(f, y):
    """∂f/∂y of every sample, shape (batch, out, in)."""
    return torch.func.vmap(torch.func.jacrev(lambda x: f(x[None])[0]))(y)


def omega(d):
    zero, one = torch.zeros(d, d), torch.eye(d)
    return torch.cat([torch.cat([zero, one], 1), torch.cat([-one, zero], 1)]).double()


def slope_of(energy, y):
    return torch.func.grad(lambda x: energy(T, x).sum())(y)


# ---------------------------------------------------------------------- Hamiltonian


@pytest.mark.parametrize("d", [1, 3])
def test_a_hamiltonian_field_keeps_energy_and_volume(d):
    energy, y = net(2 * d), states(2 * d)
    field = HamiltonianField(energy)
    rate = (slope_of(energy, y) * field(T, y)).sum(1)
    divergence = jacobians(lambda x: field(T, x), y).diagonal(dim1=1, dim2=2).sum(1)
    torch.testing.assert_close(rate, torch.zeros(5).double(), **ROUND_OFF)
    torch.testing.assert_close(divergence, torch.zeros(5).double(), **ROUND_OFF)


def test_the_sign_of_the_field_is_that_of_a_falling_weight():
    """H = p²/2 + 3q: q̇ = p, ṗ = −3."""
    field = HamiltonianField(Given(lambda y: y[:, 1:] ** 2 / 2 + 3 * y[:, :1]))
    y = states(2)
    torch.testing.assert_close(field(T, y), torch.stack([y[:, 1], torch.full((5,), -3.0).double()], 1))


def test_energy_is_kept_along_a_solve_to_its_tolerance():
    energy, y = net(4), states(4)
    ys = Dopri5(**TIGHT).solve(HamiltonianField(energy), y, [0.0, 2.0]).ys
    # some hundred steps, each wrong by 1e-10 of the state, times the slope of H
    torch.testing.assert_close(energy(T, ys[-1]), energy(T, ys[0]), rtol=0, atol=1e-7)


@pytest.mark.parametrize("grad", [True, False], ids=["with-gradients", "without"])
@pytest.mark.parametrize("make", [HamiltonianField, LagrangianField], ids=lambda m: m.__name__)
def test_fields_of_energies_are_the_same_where_gradients_are_off(make, grad):
    field, y = make(net(4)), states(4)
    with torch.set_grad_enabled(grad):
        value = field(T, y)
    assert value.requires_grad == grad
    torch.testing.assert_close(value, make(field.get_submodule(next(iter(field._modules))))(T, y))


TIGHT = {"rtol": 1e-10, "atol": 1e-10}


@pytest.mark.parametrize(
    "solver",
    [
        Dopri5(gradient="backprop", **TIGHT),
        Dopri5(gradient="checkpoint", **TIGHT),
        TorchDiffEq(gradient="adjoint", **TIGHT),
    ],
    ids=lambda s: s.gradient,
)
def test_gradients_through_a_solve_are_those_of_finite_differences(solver):
    """Second derivatives of H reach its weights in every gradient mode, and every evaluation is counted."""
    field, y = HamiltonianField(net(2)), states(2)
    weight = field.hamiltonian.net[0].weight
    counter = EvaluationCounter(field)
    solution = solver.solve(counter, y, [0.0, 0.5])
    solution.ys[-1].square().sum().backward()
    assert counter.calls == solution.stats.nfe_forward + solution.stats.nfe_backward

    def loss(shift):
        with torch.no_grad():
            weight[0, 0] += shift
            value = solver.solve(field, y, [0.0, 0.5]).ys[-1].square().sum()
            weight[0, 0] -= shift
        return value

    slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
    # error of the difference 1e-10, of the solves 1e-10 over 2e-5
    torch.testing.assert_close(weight.grad[0, 0], slope, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------- Lagrangian


def kinetic(y):
    """½ q̇ᵀM(q)q̇ with M = [[2, cos q₁], [cos q₁, 3 + q₂²]]."""
    (a, b), (u, v) = y[:, :2].unbind(1), y[:, 2:].unbind(1)
    return (2 * u * u + 2 * a.cos() * u * v + (3 + b * b) * v * v)[:, None] / 2


def potential(y):
    return (y[:, 0].sin() + y[:, 0] * y[:, 1] ** 2)[:, None]


@pytest.mark.parametrize("inverse", ["pinv", "solve"])
def test_a_constant_mass_and_a_potential_give_newtons_law(inverse):
    """L = ½ q̇ᵀM q̇ − V(q): M q̈ = −∇V."""
    mass = torch.tensor([[2.0, 0.5], [0.5, 1.0]]).double()

    def lagrangian(y):
        v = y[:, 2:]
        return (v @ mass * v).sum(1, keepdim=True) / 2 - potential(y)

    y = states(4)
    value = LagrangianField(Given(lagrangian), inverse)(T, y)
    q = y[:, :2]
    force = -torch.stack([q[:, 0].cos() + q[:, 1] ** 2, 2 * q[:, 0] * q[:, 1]], 1)
    torch.testing.assert_close(value[:, :2], y[:, 2:])
    torch.testing.assert_close(value[:, 2:] @ mass, force, **ROUND_OFF)


def test_a_mass_that_depends_on_the_place_gives_the_written_out_equation():
    """The terms of a moving mass matrix, by hand: M q̈ + Ṁ q̇ − ∇_q T = −∇V."""
    y = states(4)
    (a, b), (u, v) = y[:, :2].unbind(1), y[:, 2:].unbind(1)
    value = LagrangianField(Given(lambda y: kinetic(y) - potential(y)))(T, y)
    first, second = value[:, 2], value[:, 3]
    torch.testing.assert_close(
        2 * first + a.cos() * second - a.sin() * u * v, -a.sin() * u * v - a.cos() - b * b, **ROUND_OFF
    )
    torch.testing.assert_close(
        a.cos() * first + (3 + b * b) * second - a.sin() * u * u + 2 * b * v * v,
        b * v * v - 2 * a * b,
        **ROUND_OFF,
    )


def test_scale_shift_and_a_total_derivative_leave_the_acceleration():
    """L → 3L + 7 + d/dt F(q) with F = q₁ sin q₂."""

    def total(y):
        (a, b), (u, v) = y[:, :2].unbind(1), y[:, 2:].unbind(1)
        return (b.sin() * u + a * b.cos() * v)[:, None]

    y = states(4)
    plain = LagrangianField(Given(lambda y: kinetic(y) - potential(y)))(T, y)
    other = LagrangianField(Given(lambda y: 3 * (kinetic(y) - potential(y)) + 7 + total(y)))(T, y)
    torch.testing.assert_close(other, plain, **ROUND_OFF)


def test_pseudo_inverse_and_solve_agree_at_random_weights():
    lagrangian, y = net(4), states(4)
    # the mass matrices of this net have condition numbers below 1e3
    torch.testing.assert_close(
        LagrangianField(lagrangian, "pinv")(T, y),
        LagrangianField(lagrangian, "solve")(T, y),
        rtol=1e-9,
        atol=1e-9,
    )


# ---------------------------------------------------------------------- port-Hamiltonian


def port(d=2, m=1, damping=True):
    field = PortHamiltonianField(
        net(2 * d), net(d, d * (d + 1) // 2) if damping else None, net(d, d * m) if m else None, m
    )
    return field, states(2 * d + m)


def test_power_balance():
    """Ḣ = −∇HᵀR∇H + uᵀGᵀ∇H."""
    field, y = port()
    x, q, u = y[:, :4], y[:, :2], y[:, 4:]
    slope = slope_of(field.hamiltonian, x)
    rate = (slope * field(T, y)[:, :4]).sum(1)
    by_p = slope[:, 2:]
    lost = torch.einsum("bi,bij,bj->b", by_p, field.dissipation(T, q), by_p)
    supplied = torch.einsum("bi,bij,bj->b", by_p, field.port(T, q), u)
    torch.testing.assert_close(rate, supplied - lost, **ROUND_OFF)
    assert (lost > 0).all()
    assert torch.equal(field(T, y)[:, 4:], torch.zeros(5, 1).double())


def test_the_dissipation_is_the_product_of_the_triangle():
    field, y = port()
    a, b, c = field.damping(T, y[:, :2]).unbind(1)
    expected = torch.stack([torch.stack([a * a, a * b], 1), torch.stack([a * b, b * b + c * c], 1)], 1)
    torch.testing.assert_close(field.dissipation(T, y[:, :2]), expected)


def test_energy_never_rises_without_inputs():
    field, y = port(m=0)
    ys = Dopri5(rtol=1e-9, atol=1e-9).solve(field, y, torch.linspace(0, 1, 20)).ys
    energy = torch.stack([field.hamiltonian(T, y) for y in ys])
    assert (energy.diff(dim=0) < 1e-7).all()


def test_constant_dissipation_contracts_volume_at_the_trace_of_r_times_the_hessian():
    field, y = port(d=1, m=0)
    field.damping = Given(lambda q: torch.full_like(q, 0.7))
    divergence = jacobians(lambda x: field(T, x), y).diagonal(dim1=1, dim2=2).sum(1)
    hessian = torch.func.vmap(torch.func.hessian(lambda x: field.hamiltonian(T, x[None])[0, 0]))(y)
    torch.testing.assert_close(divergence, -(0.7**2) * hessian[:, 1, 1], **ROUND_OFF)


def test_without_friction_and_inputs_it_is_the_hamiltonian_field():
    field, y = port(m=0, damping=False)
    assert torch.equal(field(T, y), HamiltonianField(field.hamiltonian)(T, y))


def test_at_fixed_input_without_friction_the_flow_is_symplectic():
    field, y = port(d=1, m=1, damping=False)
    field.ports = Given(lambda q: torch.full_like(q, 0.7))

    def flow(x):
        state = torch.cat([x, y[:1, 2:].expand(len(x), 1)], 1)
        return Dopri5(rtol=1e-11, atol=1e-11).solve(field, state, [0.0, 0.5]).ys[-1][:, :2]

    jacobian = torch.func.jacrev(lambda x: flow(x[None])[0])(y[0, :2])
    torch.testing.assert_close(jacobian.T @ omega(1) @ jacobian, omega(1), rtol=0, atol=1e-8)


# ---------------------------------------------------------------------- separable


def separable(d=2):
    return LearnedSeparableField(net(d), net(d))


def leaps(field, y, end, steps=7):
    return Leapfrog(num_steps=steps).solve(field, y, [0.0, end]).ys[-1]


def test_leapfrog_on_learned_energies_is_symplectic():
    field, y = separable(), states(4)
    jacobian = torch.func.jacrev(lambda x: leaps(field, x[None], 0.7)[0])(y[0])
    torch.testing.assert_close(jacobian.T @ omega(2) @ jacobian, omega(2), rtol=0, atol=1e-10)


def test_steps_are_undone_by_steps_of_opposite_sign():
    field, y = separable(), states(4)
    torch.testing.assert_close(leaps(field, leaps(field, y, 0.7), -0.7), y, rtol=0, atol=1e-10)


def test_exact_energies_give_stormer_verlet():
    """K = p²/2, V = −cos q: kick, drift, kick by hand."""
    field = LearnedSeparableField(
        Given(lambda p: (p**2).sum(1, keepdim=True) / 2), Given(lambda q: -q.cos().sum(1, keepdim=True))
    )
    y, h = states(2), 0.1
    q, p = y.chunk(2, 1)
    for _ in range(7):
        p = p - h / 2 * q.sin()
        q = q + h * p
        p = p - h / 2 * q.sin()
    torch.testing.assert_close(leaps(field, y, 0.7), torch.cat([q, p], 1), **ROUND_OFF)


def test_the_energy_error_of_a_long_solve_falls_with_the_square_of_the_step():
    field, y = separable(1), states(2)

    def energy(x):
        q, p = x.chunk(2, 1)
        return field.kinetic(T, p) + field.potential(T, q)

    times = torch.linspace(0, 20, 11)
    errors = []
    for step in (0.02, 0.01):
        ys = Leapfrog(step_size=step).solve(field, y, times).ys
        errors.append(max((energy(x) - energy(y)).abs().max().item() for x in ys))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


# ---------------------------------------------------------------------- angles


def test_a_whole_turn_of_an_angle_changes_nothing():
    function = OnCircles(VectorField, 4, 1, angles=[0, 2]).double()
    y = states(4)
    turned = y + 2 * torch.pi * torch.tensor([1.0, 0, -2, 0], dtype=torch.float64)
    torch.testing.assert_close(function(T, turned), function(T, y), **ROUND_OFF)
    assert not torch.allclose(function(T, y + torch.tensor([0.0, 1, 0, 0])), function(T, y))
    assert not torch.allclose(function(T, y + torch.tensor([1.0, 0, 0, 0])), function(T, y))


@pytest.mark.parametrize("angles", [[2], [-1], [0, 0]])
def test_angles_that_are_no_channels_are_refused(angles):
    with pytest.raises(UsageError, match="angles"):
        OnCircles(VectorField, 2, 1, angles=angles)


def test_an_odd_state_is_refused():
    with pytest.raises(UsageError, match="coordinates"):
        degrees_of_freedom(3, "momenta")
    assert degrees_of_freedom(6, "momenta") == 3
