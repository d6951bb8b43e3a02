"""Discrete nets that are integration schemes: PolyNet, LM-ResNet, HO-ResNet and the PDE networks."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from integrand.errors import UsageError
from integrand.modules import (
    HamiltonianNet,
    HOResNet,
    HyperbolicCNN,
    LeapfrogNet,
    LMResNet,
    NeuralODE,
    ParabolicCNN,
    PolyNet,
    ResNet,
    families,
)
from integrand.modules.discrete.ho_resnet import TABLEAUX
from integrand.solvers import TorchDiffEq, count
from integrand.spec import Classes, ImageSpec

SPEC = ImageSpec("made-up", Classes(3), (1, 8, 8))
X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 1])

DISCRETE = [f for f in families() if f.group == "discrete"]


def build(family, channels=6, **kwargs):
    torch.manual_seed(0)
    return family(SPEC, channels=channels, **kwargs).double()


class Linear(nn.Module):
    """f(y) = A y on vectors."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = matrix

    def forward(self, t, y):
        return y @ self.matrix.T


def vectors(dimension=5, norm=0.5):
    """A matrix of the given spectral norm and three vectors."""
    generator = torch.Generator().manual_seed(2)
    matrix = torch.randn(dimension, dimension, generator=generator, dtype=torch.float64)
    matrix *= norm / torch.linalg.matrix_norm(matrix, 2)
    return matrix, torch.randn(3, dimension, generator=generator, dtype=torch.float64)


def on_vectors(module, *fields):
    """The dynamics of a built family with its residual functions, in the order of their list, replaced."""
    dynamics = module.net.dynamics
    dynamics.fields = nn.ModuleList(fields)
    return lambda x: dynamics(x).ys[-1]


@pytest.mark.parametrize("family", DISCRETE, ids=lambda f: f.family)
def test_the_account_of_every_discrete_family_is_what_was_evaluated(family, accounts):
    module = build(family).eval()
    with count(*module.net.dynamics.residuals()) as seen:
        loss = F.cross_entropy(module(X), Y)
        forward = seen.calls
        loss.backward()
    stats = accounts(module)[0]
    assert stats.nfe_forward == forward > 0
    assert stats.nfe_backward == seen.calls - forward
    assert (stats.nfe_backward > 0) == (stats.gradient != "backprop")
    # backprop and recomputation pull back through each evaluation once; implicit gradients iterate
    assert stats.vjps == forward or stats.gradient == "implicit"


# PolyNet


def poly(variant, *fields, **options):
    module = build(PolyNet, blocks=1, variant=variant, **options)
    return on_vectors(module, nn.ModuleList(fields))


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("norm", [0.2, 0.5, 0.9])
def test_polynet_approximates_the_resolvent(order, norm):
    """‖p_n(A) − (I − A)⁻¹‖ ≤ ‖A‖^{n+1} / (1 − ‖A‖) for linear F with ‖A‖ < 1."""
    a, _ = vectors(norm=norm)
    resolvent = torch.linalg.inv(torch.eye(5) - a)
    matrix = poly(f"poly-{order}", Linear(a))(torch.eye(5, dtype=torch.float64)).T
    error = torch.linalg.matrix_norm(matrix - resolvent, 2).item()
    assert error <= norm ** (order + 1) / (1 - norm)
    # and it is the next power of the series that is missing first
    missing = torch.linalg.matrix_power(a, order + 1) @ resolvent
    torch.testing.assert_close(resolvent - matrix, missing, rtol=0, atol=1e-14)


def test_polynet_scales_every_order_by_a_power_of_h():
    a, x = vectors()
    found = poly("poly-3", Linear(a), h=0.3)(x)
    expected = x @ sum(torch.linalg.matrix_power(0.3 * a, k) for k in range(4)).T
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-14)


def test_variants_of_polynet_are_their_polynomials():
    a, x = vectors()
    b, c = a.flip(0), a.flip(1)
    ia, ib, ic = Linear(a), Linear(b), Linear(c)
    expected = {
        "poly-2": (x @ (torch.eye(5) + a + a @ a).T, [ia]),
        "mpoly-2": (x @ (torch.eye(5) + a + b @ a).T, [ia, ib]),
        "mpoly-3": (x @ (torch.eye(5) + a + b @ a + c @ b @ a).T, [ia, ib, ic]),
        "2-way": (x @ (torch.eye(5) + a + b).T, [ia, ib]),
        "3-way": (x @ (torch.eye(5) + a + b + c).T, [ia, ib, ic]),
    }
    for variant, (value, fields) in expected.items():
        torch.testing.assert_close(poly(variant, *fields)(x), value, rtol=1e-14, atol=1e-14)


def test_polynet_of_order_one_is_the_resnet():
    module, resnet = build(PolyNet), build(ResNet)
    module.net.dynamics.order = 1
    weights = {
        k.replace(".0.norm", ".norm").replace(".0.conv", ".conv"): v for k, v in module.state_dict().items()
    }
    resnet.load_state_dict(weights)
    assert torch.equal(module(X), resnet(X))


@pytest.mark.parametrize(
    ("variant", "functions", "evaluations"),
    [
        ("poly-2", 1, 2),
        ("poly-3", 1, 3),
        ("mpoly-2", 2, 2),
        ("mpoly-3", 3, 3),
        ("2-way", 2, 2),
        ("3-way", 3, 3),
    ],
)
def test_polynet_counts_its_functions_and_evaluations(variant, functions, evaluations, accounts):
    module = build(PolyNet, blocks=3, variant=variant)
    module(X)
    assert len(module.net.dynamics.residuals()) == 3 * functions
    assert accounts(module)[0].nfe_forward == 3 * evaluations


# LM-ResNet


def test_lm_resnet_with_k_zero_is_the_resnet():
    lm = build(LMResNet, k_low=0.0, k_high=0.0)
    resnet = build(ResNet)
    resnet.load_state_dict({n: v for n, v in lm.state_dict().items() if not n.endswith(".k")})
    assert torch.equal(lm(X), resnet(X))


def test_lm_resnet_starts_with_k_just_below_zero():
    k = build(LMResNet, blocks=200).net.dynamics.k
    assert len(k) == 199
    assert -0.1 <= k.min() < -0.09
    assert -0.01 < k.max() <= 0


@pytest.mark.parametrize("k", [-0.5, -0.05, 0.4])
def test_lm_resnet_drifts_at_the_rate_of_its_modified_equation(k):
    """For f = c each step moves by c/(1 + k) after a transient of size |k|ⁿ."""
    blocks, c = 60, 0.7

    class Constant(nn.Module):
        def forward(self, t, y):
            return torch.full_like(y, c)

    module = build(LMResNet, blocks=blocks, k_low=k, k_high=k)
    dynamics = module.net.dynamics
    dynamics.fields = nn.ModuleList(Constant() for _ in range(blocks))
    with torch.no_grad():
        dynamics.k.fill_(k)  # float64, free of the rounding of float32 that it was drawn in
        ys = dynamics(torch.zeros(1, 1, dtype=torch.float64), blocks + 1).ys.flatten()
    steps = ys[1:] - ys[:-1]
    assert steps[0].item() == pytest.approx(c, rel=1e-14)  # the first block is the plain one
    # 0.5⁵⁹ = 2e-18 is left of the transient; differences of numbers near 80 keep 1e-14
    assert steps[-1].item() == pytest.approx(c / (1 + k), abs=1e-13)
    # the transient decays with the root −k of the characteristic polynomial
    ratio = (steps[2] - steps[1]) / (steps[1] - steps[0])
    assert ratio.item() == pytest.approx(-k, abs=1e-12)


# HO-ResNet


@pytest.mark.parametrize("method", sorted(TABLEAUX))
def test_tableaux_are_consistent(method):
    """Row sums c_i = Σ a_ij and Σ b = 1: the check that catches the defects of the reference code."""
    tableau = TABLEAUX[method]
    for c, row in zip(tableau.c, tableau.a, strict=True):
        assert sum(row) == pytest.approx(c, abs=1e-15)
    assert sum(tableau.b) == pytest.approx(1, abs=1e-15)


ORDERS = {"midpoint": 2, "heun": 2, "rk3": 3, "heun3": 3, "rk4": 4, "rk38": 4}


@pytest.mark.parametrize("method", sorted(TABLEAUX))
def test_ho_resnet_with_tied_stages_has_the_order_of_its_method(method):
    """(x, y)' = r² (−y, x) turns by the angle r² t; a nonlinear field sees all conditions of the tableau."""

    class Turn(nn.Module):
        def forward(self, t, y):
            return (y**2).sum(1, keepdim=True) * torch.stack([-y[:, 1], y[:, 0]], dim=1)

    x = torch.tensor([[1.0, 0.5]], dtype=torch.float64)
    angle = math.hypot(1.0, 0.5) ** 2
    c, s = math.cos(angle), math.sin(angle)
    exact = x @ torch.tensor([[c, s], [-s, c]], dtype=torch.float64)
    errors = []
    for blocks in (60, 120, 240):
        module = build(HOResNet, method=method, blocks=blocks, h=1 / blocks, tied_stages=True, tied=True)
        errors.append((on_vectors(module, Turn())(x) - exact).norm().item())
    slopes = [math.log2(a / b) for a, b in pairwise(errors)]
    # the next order's share of the error is a few steps h, 1/60 at most
    assert slopes == pytest.approx([ORDERS[method]] * 2, abs=0.15)


def test_a_tied_rk4_block_is_one_step_of_rk4_on_a_linear_equation():
    a, x = vectors()
    found = on_vectors(build(HOResNet, h=0.8, tied_stages=True), Linear(a))(x)
    series = sum(torch.linalg.matrix_power(0.8 * a, k) / math.factorial(k) for k in range(5))
    torch.testing.assert_close(found, x @ series.T, rtol=1e-14, atol=1e-14)


def test_tied_ho_resnet_is_the_neural_ode_under_the_same_method(accounts):
    """torchdiffeq's `rk4` is the 3/8 rule."""
    blocks = 3
    solver = TorchDiffEq(method="rk4", step_size=1.0)
    ode = build(NeuralODE, solver=solver, t1=float(blocks), time_dependent=False)
    net = build(HOResNet, blocks=blocks, method="rk38", tied_stages=True, tied=True)
    net.load_state_dict(
        {k.replace("dynamics.field", "dynamics.fields.0"): v for k, v in ode.state_dict().items()}
    )
    # the same step with its sums in another order
    torch.testing.assert_close(ode(X), net(X), rtol=1e-11, atol=1e-11)
    assert accounts(ode)[0].nfe_forward == accounts(net)[0].nfe_forward == 4 * blocks


def test_stages_of_a_ho_resnet_have_their_own_weights():
    """Σ b_i A_i and Σ b_i a_ij A_i A_j appear with the matrix of their own stage (Heun)."""
    a, x = vectors()
    b = a.flip(0)
    found = on_vectors(build(HOResNet, method="heun"), Linear(a), Linear(b))(x)
    torch.testing.assert_close(
        found, x @ (torch.eye(5) + a / 2 + b / 2 + b @ a / 2).T, rtol=1e-14, atol=1e-14
    )


@pytest.mark.parametrize(
    ("tied_stages", "tied", "functions"),
    [(False, False, 8), (True, False, 2), (False, True, 4), (True, True, 1)],
)
def test_ho_resnet_ties_what_was_asked_for(tied_stages, tied, functions, accounts):
    module = build(HOResNet, blocks=2, tied_stages=tied_stages, tied=tied)
    with count(*module.net.dynamics.residuals()) as seen:
        module(X)
    assert len(module.net.dynamics.residuals()) == functions
    assert seen.calls == accounts(module)[0].nfe_forward == 8


# PDE networks


def largest_singular_value(kernel, side=8):
    size = kernel.shape[0] * side**2
    columns = torch.eye(size, dtype=kernel.dtype).view(size, kernel.shape[0], side, side)
    return torch.linalg.matrix_norm(F.conv2d(columns, kernel, padding=1).flatten(1), 2).item()


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_parabolic_step_is_non_expansive_below_its_limit_and_not_above(activation):
    """h ≤ 2/‖K‖² keeps ‖Y − Ỹ‖ from growing for any monotone σ of slope at most 1, without a norm layer."""
    dynamics = build(ParabolicCNN, channels=3, blocks=1, norm=False, activation=activation).net.dynamics
    layer = dynamics.residuals()[0]
    limit = 2 / largest_singular_value(layer.kernel.detach()) ** 2
    generator = torch.Generator().manual_seed(3)

    def worst(h):
        dynamics.h = h
        ratios = []
        for size in (1e-3, 1.0, 30.0):
            y = size * torch.randn(64, 3, 8, 8, generator=generator, dtype=torch.float64)
            with torch.no_grad():
                moved = (dynamics(y).ys[-1][::2] - dynamics(y).ys[-1][1::2]).flatten(1).norm(dim=1)
            ratios.append((moved / (y[::2] - y[1::2]).flatten(1).norm(dim=1)).max().item())
        return max(ratios)

    assert worst(limit) <= 1 + 1e-12  # round-off of a quotient
    assert worst(4 * limit) > 1  # the bound is not vacuous


def test_parabolic_state_falls_down_a_potential():
    """Kᵀ relu(KY) is the gradient of ½‖relu(KY)‖², which steps below 2/‖K‖² do not raise."""
    dynamics = build(ParabolicCNN, channels=3, blocks=6, norm=False).net.dynamics
    kernel = dynamics.residuals()[0].kernel.detach().clone()
    for layer in dynamics.residuals():
        layer.kernel.data.copy_(kernel)
    dynamics.h = 1 / largest_singular_value(kernel) ** 2
    with torch.no_grad():
        ys = dynamics(torch.randn(1, 3, 8, 8, dtype=torch.float64), 7).ys
    values = [(F.relu(F.conv2d(y, kernel, padding=1)) ** 2).sum().item() / 2 for y in ys]
    assert all(b < a for a, b in pairwise(values))


@pytest.mark.parametrize(("form", "family"), [("leapfrog", LeapfrogNet), ("hamiltonian", HamiltonianNet)])
def test_hyperbolic_cnn_without_norm_is_the_net_of_its_form(form, family):
    hyperbolic, other = build(HyperbolicCNN, form=form, norm=False), build(family, blocks=8, h=0.5)
    other.load_state_dict(hyperbolic.state_dict())
    assert torch.equal(hyperbolic(X), other(X))


@pytest.mark.parametrize("options", [{"form": "leapfrog"}, {"form": "hamiltonian"}])
def test_smoothness_is_the_weighted_sum_of_squared_differences_in_time(options):
    alpha, h, blocks = 0.3, 0.25, 3
    module = build(HyperbolicCNN, blocks=blocks, h=h, smoothness=alpha, norm=False, **options)
    layers = module.net.dynamics.residuals()
    expected = 0.0
    for start in range(0, len(layers), blocks):
        for a, b in pairwise(layers[start : start + blocks]):
            expected += ((b.kernel - a.kernel) ** 2).sum() + ((b.bias - a.bias) ** 2).sum()
    found = module.penalty()["smoothness"]
    # one sum in two orders
    torch.testing.assert_close(found, alpha / (2 * h) * expected, rtol=1e-13, atol=0)
    found.backward()
    for layer in layers:
        assert layer.kernel.grad.abs().max() > 0


def test_smoothness_vanishes_for_constant_weights_and_approaches_its_integral():
    """θ(t) = t² on [0, 1] for each of n weights: (α/2) n ∫ (2t)² dt = (2/3) α n."""
    errors = []
    for blocks in (11, 21, 41):
        module = build(
            ParabolicCNN, channels=2, blocks=blocks, h=1 / (blocks - 1), smoothness=1.0, norm=False
        )
        layers = module.net.dynamics.residuals()
        with torch.no_grad():
            for n, layer in enumerate(layers):
                for parameter in layer.parameters():
                    parameter.fill_((n / (blocks - 1)) ** 2)
        weights = sum(p.numel() for p in layers[0].parameters())
        errors.append(abs(module.penalty()["smoothness"].item() / weights - 2 / 3))
        with torch.no_grad():
            for layer in layers:
                for parameter in layer.parameters():
                    parameter.fill_(1.5)
        assert module.penalty()["smoothness"].item() == 0
    # midpoint quadrature of a smooth integrand: order 2, exactly h²/6 here
    assert [math.log2(a / b) for a, b in pairwise(errors)] == pytest.approx([2, 2], abs=1e-6)


@pytest.mark.parametrize("family", [ParabolicCNN, HyperbolicCNN], ids=lambda f: f.family)
def test_smoothness_enters_the_training_loss_only(family):
    module = build(family, smoothness=10.0)
    logged = {}
    module.log = lambda name, value, **_: logged.update({name: value})
    train = module.training_step((X, Y), 0)["loss"]
    val = module.validation_step((X, Y), 0)["outcome"].loss
    assert logged["train/smoothness"] > 0.1
    # the first is a sum of the other two; the second is the same computation twice
    torch.testing.assert_close(train, val + logged["train/smoothness"], rtol=1e-12, atol=0)
    assert torch.equal(logged["train/loss"], logged["val/loss"])
    assert build(family, smoothness=0.0).penalty() == {}


@pytest.mark.parametrize(
    ("family", "option", "message"),
    [
        (PolyNet, {"variant": "poly-9"}, "unknown variant 'poly-9' → .*poly-2, poly-3, mpoly-2"),
        (PolyNet, {"h": 0.0}, "h must be positive"),
        (LMResNet, {"k_low": -1.0}, "-1 < k_low ≤ k_high < 1, got k_low=-1.0"),
        (LMResNet, {"k_low": 0.1, "k_high": 0.0}, "k_low ≤ k_high"),
        (LMResNet, {"blocks": 0}, "blocks must be at least 1"),
        (HOResNet, {"method": "rk5"}, "unknown method 'rk5' → .*heun, rk3, heun3, rk4"),
        (ParabolicCNN, {"smoothness": -1.0}, "smoothness must be 0 or more"),
        (ParabolicCNN, {"channels": 0}, "channels must be at least 1"),
        (HyperbolicCNN, {"form": "wave"}, "unknown form 'wave' → .*leapfrog, hamiltonian"),
        (HyperbolicCNN, {"form": "hamiltonian", "channels": 5}, "channels must be even"),
    ],
)
def test_values_outside_their_domain_are_refused(family, option, message):
    with pytest.raises(UsageError, match=message):
        build(family, **option)
