"""RNODE, TayNODE and STEER: what they integrate in closed form, and that evaluation never sees them."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from integrand.errors import UsageError
from integrand.modules import RNODE, STEER, NeuralODE, TayNODE
from integrand.modules.bench.image.fields import PreActivationField
from integrand.modules.continuous.regularized import simpson
from integrand.modules.continuous.rnode import KineticJacobianDynamics, kinetic_and_jacobian, signs
from integrand.modules.continuous.steer import RandomEndDynamics
from integrand.modules.continuous.taynode import TaylorDynamics, solution_derivative
from integrand.solvers import SolveStats, TorchDiffEq, count
from integrand.spec import Classes, ImageSpec

SPEC = ImageSpec("made-up", Classes(3), (1, 8, 8))
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(4, 1, 8, 8, generator=GENERATOR, dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 0])
Z = torch.randn(5, 3, generator=GENERATOR, dtype=torch.float64)
A = torch.randn(3, 3, generator=GENERATOR, dtype=torch.float64)
SKEW = A - A.T
EXACT_SOLVER = TorchDiffEq(method="dopri5", rtol=1e-11, atol=1e-11)
# the solver's global error at that tolerance
SOLVED = {"rtol": 1e-9, "atol": 1e-9}
ROUND_OFF = {"rtol": 1e-13, "atol": 1e-13}


class Field(nn.Module):
    """Any function of (t, y), with one parameter that scales it."""

    def __init__(self, function, scale=1.0):
        super().__init__()
        self.function = function
        self.scale = nn.Parameter(torch.tensor(scale, dtype=torch.float64))

    def forward(self, t, y):
        return self.scale * self.function(t, y)


def build(family, **kwargs):
    # a head that is the same function in training
    torch.manual_seed(0)
    return family(SPEC, channels=6, head="none", **kwargs).double()


def rnode(field, t1=1.0, intervals=4, solver=EXACT_SOLVER, **weights):
    return KineticJacobianDynamics(field, solver, t1, 3, weights, intervals)


def taynode(field, order, t1=1.0, intervals=4):
    return TaylorDynamics(
        order,
        field=field,
        solver=EXACT_SOLVER,
        t1=t1,
        channels=3,
        weights={"taylor": 1.0},
        intervals=intervals,
    )


def test_simpson_is_exact_for_cubics_and_of_order_four():
    def integral(g, n, length):
        return sum(w * g(length * i / n) for i, w in enumerate(simpson(n, length)))

    assert integral(lambda t: 4 * t**3 - t + 1, 4, 1.5) == pytest.approx(1.5**4 - 1.5**2 / 2 + 1.5, rel=1e-14)
    errors = [abs(integral(math.exp, n, 1.0) - (math.e - 1)) for n in (4, 8, 16)]
    # the next error term is 1/64 of the leading one at n = 8
    assert [math.log2(a / b) for a, b in itertools.pairwise(errors)] == pytest.approx([4, 4], abs=0.05)


def test_kinetic_energy_bounds_the_distance_and_straight_lines_meet_the_bound():
    """t1 ∫‖f‖² dt ≥ ‖h(t1) − h(0)‖² (Cauchy and Schwarz)."""
    t1 = 1.7
    for function, equal in ((lambda t, y: 0 * y + A[0], True), (lambda t, y: torch.tanh(y @ A) - t, False)):
        dynamics = rnode(Field(function), t1=t1, kinetic=1.0)
        solution = dynamics(Z.clone().requires_grad_())
        energy = dynamics.take_terms()["kinetic"].item()
        distance = (solution.ys[-1] - solution.ys[0]).square().mean().item() / t1
        if equal:
            assert energy == pytest.approx(distance, rel=1e-12)
        else:
            assert energy > 1.05 * distance


def test_kinetic_energy_of_the_family_bounds_its_distance():
    module = build(RNODE, kinetic=1.0, jacobian=0.0)
    _, ys = module.eval().trajectory(X, 2)
    module.train()(X)
    terms = module.penalty()
    assert set(terms) == {"kinetic"}
    assert terms["kinetic"] >= (ys[-1] - ys[0]).square().mean()


def test_kinetic_energy_of_linear_fields():
    """A rotation keeps ‖f‖; f = −z has ∫‖f‖² = ‖z₀‖²(1 − e^{−2T})/2, which Simpson meets with order 4."""
    dynamics = rnode(Field(lambda t, y: y @ SKEW), kinetic=0.5, t1=2.0)
    dynamics(Z)
    expected = 0.5 * 2.0 * (Z @ SKEW).square().mean()
    torch.testing.assert_close(dynamics.take_terms()["kinetic"], expected, **SOLVED)
    errors = []
    for intervals in (4, 8, 16):
        dynamics = rnode(Field(lambda t, y: -y), kinetic=1.0, intervals=intervals)
        dynamics(Z)
        exact = Z.square().mean() * (1 - math.exp(-2)) / 2
        errors.append((dynamics.take_terms()["kinetic"] - exact).abs().item())
    assert [math.log2(a / b) for a, b in itertools.pairwise(errors)] == pytest.approx([4, 4], abs=0.1)


def test_products_with_all_signs_give_the_frobenius_norm():
    """Over all 2^d sign vectors the mean of ‖εᵀJ‖² is ‖J‖²_F exactly, not only in expectation."""
    field = Field(lambda t, y: torch.tanh(y @ A))
    time, z = torch.tensor(0.3).double(), Z[:1]
    jacobian = torch.autograd.functional.jacobian(lambda y: field(time, y)[0], z)[:, 0]
    products = [
        kinetic_and_jacobian(field, time, z, torch.tensor([e], dtype=torch.float64))[1]
        for e in itertools.product((-1.0, 1.0), repeat=3)
    ]
    torch.testing.assert_close(sum(products) / 8, jacobian.square().sum() / 3, **ROUND_OFF)
    noise = signs(torch.zeros(1000, 3))
    assert noise.unique().tolist() == [-1, 1]
    # 3000 fair signs: standard deviation of the mean 0.018
    assert abs(noise.mean()) < 0.08


def test_one_noise_serves_the_whole_solve():
    """f = zA: εᵀJ is constant in time if ε is, so the quadrature returns it exactly."""
    dynamics = rnode(Field(lambda t, y: y @ A), jacobian=2.0, t1=1.5)
    torch.manual_seed(5)
    noise = signs(Z)
    torch.manual_seed(5)
    dynamics(Z)
    expected = 2.0 * 1.5 * (noise @ A.T).square().mean()
    torch.testing.assert_close(dynamics.take_terms()["jacobian"], expected, **ROUND_OFF)


def test_constant_fields_have_neither_jacobian_nor_higher_derivatives():
    constant = Field(lambda t, y: 0 * y + A[0])
    dynamics = rnode(constant, jacobian=1.0)
    dynamics(Z)
    assert dynamics.take_terms()["jacobian"] == 0
    for order in (2, 3, 4):
        dynamics = taynode(constant, order)
        dynamics(Z)
        assert dynamics.take_terms()["taylor"] == 0


@pytest.mark.parametrize("gradient", TorchDiffEq.gradients)
def test_gradients_of_the_terms(gradient):
    """f = a z: kinetic a(e^{2aT} − 1)‖z₀‖²/2 and Jacobian a²T; their derivatives in a."""
    a, t1 = -0.6, 1.2
    solver = TorchDiffEq(method="dopri5", rtol=1e-10, atol=1e-10, gradient=gradient)
    field = Field(lambda t, y: y, a)
    dynamics = rnode(field, t1=t1, intervals=64, solver=solver, kinetic=1.0, jacobian=1.0)
    dynamics(Z.clone().requires_grad_())
    terms = dynamics.take_terms()
    (kinetic,) = torch.autograd.grad(terms["kinetic"], field.scale, retain_graph=True)
    growth = math.exp(2 * a * t1)
    expected = (growth - 1 + 2 * a * t1 * growth) / 2 * Z.square().mean().item()
    # Simpson on 64 intervals: (1.2/64)⁴ (2a)⁴/180 < 1e-8
    assert kinetic.item() == pytest.approx(expected, rel=1e-7)
    (jacobian,) = torch.autograd.grad(terms["jacobian"], field.scale)
    assert jacobian.item() == pytest.approx(2 * a * t1, rel=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_derivatives_of_linear_fields_are_powers(order):
    derivative = solution_derivative(lambda t, y: y @ A, order)
    expected = Z @ torch.linalg.matrix_power(A, order)
    torch.testing.assert_close(derivative(torch.tensor(0.0).double(), Z), expected, **ROUND_OFF)


def test_derivatives_see_time():
    """ẏ = y cos t has y = y₀e^{sin t}; its derivatives by hand."""
    time = torch.tensor(0.7, dtype=torch.float64)
    s, c = math.sin(0.7), math.cos(0.7)
    factors = [c**2 - s, c**3 - 3 * s * c - c, c**4 - 6 * s * c**2 - 4 * c**2 + 3 * s**2 + s]
    for order, factor in enumerate(factors, start=2):
        derivative = solution_derivative(lambda t, y: y * torch.cos(t), order)
        torch.testing.assert_close(derivative(time, Z), factor * Z, **ROUND_OFF)


def test_derivatives_vanish_on_polynomials_of_lower_degree():
    """ẏ = 3t²: the solution is cubic, its third derivative 6 and its fourth 0."""
    cubic = Field(lambda t, y: 3 * t**2 + 0 * y)
    values = []
    for order in (3, 4):
        dynamics = taynode(cubic, order, t1=1.3)
        dynamics(Z)
        values.append(dynamics.take_terms()["taylor"].item())
    assert values == pytest.approx([36 * 1.3, 0], rel=1e-13)


def test_derivatives_of_the_shared_field_agree_with_reverse_mode():
    torch.manual_seed(0)
    field = PreActivationField(4, time_dependent=True).double()
    t, y = torch.tensor(0.4).double(), torch.randn(2, 4, 5, 5, dtype=torch.float64)
    by_double_backward = torch.autograd.functional.jvp(field, (t, y), (torch.ones_like(t), field(t, y)))[1]
    torch.testing.assert_close(
        solution_derivative(field, 2)(t, y), by_double_backward, rtol=1e-10, atol=1e-10
    )
    # third order by central differences of the second along the solution: error O(h²) + O(ε/h), h = 1e-4
    h, f, g = 1e-4, field(t, y), solution_derivative(field, 2)
    ahead, behind = (g(t + s * h, y + s * h * f + h**2 / 2 * by_double_backward) for s in (1, -1))
    third = solution_derivative(field, 3)(t, y)
    torch.testing.assert_close(
        third, (ahead - behind) / (2 * h), rtol=1e-4, atol=1e-4 * third.abs().max().item()
    )


def test_taylor_term_of_a_rotation():
    dynamics = taynode(Field(lambda t, y: y @ SKEW), 3, t1=2.0)
    dynamics(Z)
    expected = 2.0 * (Z @ torch.linalg.matrix_power(SKEW, 3)).square().mean()
    torch.testing.assert_close(dynamics.take_terms()["taylor"], expected, **SOLVED)


@pytest.mark.parametrize(
    ("dynamics", "per_node", "products", "differentiated"),
    [
        (lambda f: rnode(f, kinetic=1.0), 1, 0, 1),
        (lambda f: rnode(f, jacobian=1.0), 1, 1, 1),
        (lambda f: rnode(f, kinetic=1.0, jacobian=1.0), 1, 1, 2),
        (lambda f: taynode(f, 2), 2, 0, 2),
        (lambda f: taynode(f, 4), 4, 0, 4),
    ],
)
def test_account_of_the_quadrature(dynamics, per_node, products, differentiated):
    field = Field(lambda t, y: torch.tanh(y @ A) * t)
    nodes = [(torch.tensor(t).double(), Z) for t in (0.1, 0.5, 0.9)]
    stats = SolveStats()
    with count(field) as seen:
        values = dynamics(field).integrand(nodes, stats)
    assert seen.calls == stats.nfe_forward == 3 * per_node
    assert stats.vjps == 3 * products
    sum(v for term in values.values() for v in term).backward()
    assert stats.vjps == 3 * (products + differentiated)
    assert field.scale.grad.abs() > 0


@pytest.mark.parametrize("family", [RNODE, TayNODE])
def test_terms_enter_the_training_loss_only(family, monkeypatch):
    module = build(family)
    logged = {}
    monkeypatch.setattr(module, "log", lambda name, value, **_: logged.__setitem__(name, value))
    plain = F.cross_entropy(module.eval()(X), Y)
    loss = module.train().training_step((X, Y), 0)["loss"]
    terms = {"kinetic", "jacobian"} if family is RNODE else {"taylor"}
    assert {name for name in logged if name not in {"train/loss", "train/acc"}} == {
        f"train/{t}" for t in terms
    }
    assert all(logged[f"train/{t}"] > 0 for t in terms)
    torch.testing.assert_close(logged["train/loss"], plain, **ROUND_OFF)
    torch.testing.assert_close(loss, plain + sum(logged[f"train/{t}"] for t in terms), **ROUND_OFF)
    loss.backward()
    logged.clear()
    with torch.inference_mode():
        module.eval().validation_step((X, Y), 0)
    assert set(logged) == {"val/loss", "val/acc"}
    assert module.penalty() == {}


@pytest.mark.parametrize(
    ("family", "extra"), [(RNODE, 5), (TayNODE, 15)]
)  # 5 nodes, and 5 nodes of 3 evaluations
def test_evaluation_is_the_neural_ode(family, extra, accounts):
    module, plain = build(family), build(NeuralODE)
    expected = plain(X)
    assert torch.equal(module.train()(X), expected)
    in_training = accounts(module).pop()
    with torch.inference_mode():
        assert torch.equal(module.eval()(X), expected)
    in_evaluation = accounts(module).pop()
    assert in_evaluation.nfe_forward == accounts(plain)[0].nfe_forward
    assert in_training.nfe_forward == in_evaluation.nfe_forward + extra


def test_fixed_steps_are_the_same_in_training():
    for num_steps, same in ((8, True), (6, False)):
        solver = TorchDiffEq(method="rk4", num_steps=num_steps)
        module = build(RNODE, solver=solver)
        assert torch.equal(module.train()(X), module.eval()(X)) == same


def test_without_weights_nothing_is_added(accounts):
    module, plain = build(RNODE, kinetic=0.0, jacobian=0.0), build(NeuralODE)
    assert torch.equal(module(X), plain(X))
    assert accounts(module)[0].nfe_forward == accounts(plain)[0].nfe_forward
    assert module.penalty() == {}


def test_terms_are_handed_out_once_and_are_not_copied():
    module = build(RNODE)
    module(X)
    assert copy.deepcopy(module).penalty() == {}
    assert set(module.penalty()) == {"kinetic", "jacobian"}
    assert module.penalty() == {}


def test_steer_without_width_is_the_neural_ode():
    module, plain = build(STEER, b=0.0), build(NeuralODE)
    assert torch.equal(module.train()(X), plain(X))


def test_steer_evaluates_to_the_mean_end():
    module, plain = build(STEER, b=0.9), build(NeuralODE)
    with torch.inference_mode():
        assert torch.equal(module.eval()(X), plain(X))
    assert module.trajectory(X)[0][-1] == 1


def test_steer_draws_the_end_uniformly():
    """ḣ = 1 moves by T. 300 draws: the mean has standard deviation b/√900, the extremes come within 5 %."""
    dynamics = RandomEndDynamics(
        Field(lambda t, y: 0 * y + 1), TorchDiffEq("euler", num_steps=1), 2.0, 3, 0.6
    )
    torch.manual_seed(0)
    with torch.no_grad():
        solutions = [dynamics.train()(Z) for _ in range(300)]
    ends = torch.stack([(s.ys[-1] - s.ys[0]).mean() for s in solutions])
    torch.testing.assert_close(ends, torch.stack([s.ts[-1] for s in solutions]), rtol=1e-12, atol=0)
    assert 1.4 <= ends.min() < 1.46
    assert 2.54 < ends.max() <= 2.6
    assert ends.mean() == pytest.approx(2.0, abs=0.08)
    # one draw for the whole batch
    assert (solutions[0].ys[-1] - solutions[0].ys[0]).std() < 1e-12


@pytest.mark.parametrize(
    ("family", "option", "message"),
    [
        (RNODE, {"kinetic": -1.0}, "kinetic must be 0 or more"),
        (RNODE, {"jacobian": math.nan}, "jacobian must be 0 or more"),
        (RNODE, {"intervals": 3}, "intervals must be a positive even number"),
        (RNODE, {"intervals": 0}, "intervals must be a positive even number"),
        (TayNODE, {"order": 1}, "order must be 2, 3 or 4"),
        (TayNODE, {"order": 5}, "order must be 2, 3 or 4"),
        (TayNODE, {"taylor": -0.1}, "taylor must be 0 or more"),
        (STEER, {"b": -0.1}, "b must lie in"),
        (STEER, {"b": 1.0}, r"b must lie in \[0, t1\) = \[0, 1.0\), got 1.0"),
    ],
)
def test_values_outside_their_domain_are_refused(family, option, message):
    with pytest.raises(UsageError, match=message) as caught:
        build(family, **option)
    assert caught.value.remedy
