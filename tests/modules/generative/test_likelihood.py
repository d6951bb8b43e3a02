"""Traces and log-densities of continuous flows against closed forms."""

import itertools
import math

import pytest
import torch

from integrand.diffusion import ExactTrace, HutchinsonTrace, log_normal
from integrand.errors import UsageError
from integrand.modules.generative.backbones import MLP, Conv
from integrand.modules.generative.backbones.activations import ACTIVATIONS, advance
from integrand.modules.generative.cnf import CNF
from integrand.modules.generative.ffjord import FFJORD
from integrand.modules.generative.flow import Velocity
from integrand.modules.generative.likelihood import log_likelihood
from integrand.solvers import Dopri5, TorchDiffEq
from integrand.spec import Classes, Density, ImageSpec, VectorSpec

TIGHT = Dopri5(rtol=1e-10, atol=1e-10)
POINTS = VectorSpec("made-up", Density(), 2)


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def jacobians(f, x):
    """∂f_i/∂x_j of every sample, by reverse mode."""
    return torch.stack([torch.autograd.functional.jacobian(lambda z: f(z[None])[0], row) for row in x])


# ---------------------------------------------------------------------- traces


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shift", [(2,), (4, 2)], ids=["shared", "own"])
@pytest.mark.parametrize("k", [1, 2])
def test_layers_carry_tangents_and_gradients(activation, shift, k):
    a, v = draws(4, 3).requires_grad_(), draws(k, 4, 3, seed=1).requires_grad_()
    weight, b = draws(2, 3, seed=2).requires_grad_(), draws(*shift, seed=3).requires_grad_()
    value, along = advance(activation, a, v, weight, b)
    (slope,) = torch.autograd.grad(ACTIVATIONS[activation].value(a).sum(), a)
    torch.testing.assert_close(value, ACTIVATIONS[activation].value(a) @ weight.T + b)
    torch.testing.assert_close(along, (v * slope) @ weight.T)
    with torch.no_grad():
        torch.testing.assert_close(advance(activation, a, v, weight, b), (value, along))
    assert torch.autograd.gradcheck(lambda *tensors: advance(activation, *tensors), (a, v, weight, b))


def test_gradients_under_autocast_are_those_of_full_precision_to_its_own(mlp):
    net, x = mlp(2).float(), draws(64, 2).float()
    t, v = torch.tensor(0.3), torch.ones(1, 64, 2)
    grads = []
    for mixed in (False, True):
        net.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            f, products = net.linearise(t, x, v)
        (f.float().square().mean() + products.float().square().mean()).backward()
        grads.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
    # bfloat16 keeps 8 bits
    assert (grads[1] - grads[0]).norm() < 0.05 * grads[0].norm()
    assert not torch.equal(grads[0], grads[1])


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("per_sample", [False, True])
def test_the_fused_products_are_those_of_reverse_mode(mlp, activation, per_sample):
    net, x, v = mlp(3, activation=activation), draws(5, 3), draws(2, 5, 3, seed=1)
    t = torch.rand(5, 1, dtype=torch.float64) if per_sample else torch.tensor(0.3, dtype=torch.float64)
    f, products = net.linearise(t, x, v)
    torch.testing.assert_close(f, net(t, x))
    for i, row in enumerate(x):
        at = t[i : i + 1] if per_sample else t
        (J,) = jacobians(lambda z, at=at: net(at, z), row[None])
        torch.testing.assert_close(products[:, i], v[:, i] @ J.T)
    # and the same as the general way, which any network gets
    for k in (1, 2):
        general = super(type(net), net).linearise(t, x, v[:k])
        torch.testing.assert_close(general[1], products[:k])
        torch.testing.assert_close(general[0], f)


def test_the_products_of_an_image_network_are_those_of_reverse_mode():
    torch.manual_seed(0)
    net = Conv(hidden=3, layers=1).build((1, 3, 3)).double()
    x, v = draws(2, 1, 3, 3), draws(2, 2, 1, 3, 3, seed=1)
    t = torch.tensor(0.4, dtype=torch.float64)
    f, products = net.linearise(t, x, v)
    torch.testing.assert_close(f, net(t, x))
    J = jacobians(lambda z: net(t, z), x).reshape(2, 9, 9)
    torch.testing.assert_close(products.flatten(2), torch.einsum("bij,kbj->kbi", J, v.flatten(2)))


def test_exact_trace_and_frobenius_norm(mlp):
    net, x = mlp(4), draws(6, 4)
    t = torch.tensor(0.7, dtype=torch.float64)
    J = jacobians(lambda z: net(t, z), x)
    found = ExactTrace().evaluate(net, t, x, ExactTrace().directions(x))
    torch.testing.assert_close(found.trace, J.diagonal(dim1=1, dim2=2).sum(dim=1))
    torch.testing.assert_close(found.jacobian, J.square().sum(dim=(1, 2)))


def test_hutchinson_is_unbiased_over_all_sign_vectors(mlp):
    net, x = mlp(3), draws(5, 3)
    t = torch.tensor(0.2, dtype=torch.float64)
    exact = ExactTrace().evaluate(net, t, x, ExactTrace().directions(x))
    signs = [
        torch.tensor(s, dtype=torch.float64).expand(1, 5, 3) for s in itertools.product((-1, 1), repeat=3)
    ]
    every = [HutchinsonTrace().evaluate(net, t, x, v) for v in signs]
    assert not torch.allclose(every[0].trace, exact.trace)
    torch.testing.assert_close(torch.stack([e.trace for e in every]).mean(dim=0), exact.trace)
    torch.testing.assert_close(torch.stack([e.jacobian for e in every]).mean(dim=0), exact.jacobian)
    # several probes at once are their mean
    several = HutchinsonTrace(probes=8).evaluate(net, t, x, torch.cat(signs))
    torch.testing.assert_close(several.trace, exact.trace)


@pytest.mark.parametrize("distribution", ["rademacher", "gaussian"])
def test_probes_have_identity_covariance(distribution):
    torch.manual_seed(0)
    v = HutchinsonTrace(distribution, probes=3).directions(torch.zeros(20_000, 2, dtype=torch.float64))
    assert v.shape == (3, 20_000, 2)
    flat = v.reshape(-1, 2)
    # 60,000 draws: 5 standard errors, √2/√60000 at most for each entry
    torch.testing.assert_close(
        flat.T @ flat / len(flat), torch.eye(2, dtype=torch.float64), rtol=0, atol=0.03
    )
    assert set(flat.unique().tolist()) == {-1.0, 1.0} or distribution == "gaussian"


def test_a_probe_is_fixed_in_a_solve_and_new_in_the_next(mlp, monkeypatch):
    seen = []
    original = HutchinsonTrace.evaluate

    def spy(self, net, t, x, v):
        seen.append(v)
        return original(self, net, t, x, v)

    monkeypatch.setattr(HutchinsonTrace, "evaluate", spy)
    net = mlp()
    for _ in range(2):
        log_likelihood(net, draws(9, 2), Dopri5(), HutchinsonTrace())
    # two runs of one tensor each, of many evaluations
    assert sum(a is not b for a, b in itertools.pairwise(seen)) == 1
    assert min(sum(v is seen[0] for v in seen), sum(v is seen[-1] for v in seen)) > 5
    assert not torch.equal(seen[0], seen[-1])


# ---------------------------------------------------------------------- log-density


def test_linear_flow_has_the_log_determinant_of_its_trace(linear):
    A = torch.tensor([[0.3, -1.2], [0.7, 0.4]], dtype=torch.float64)
    b = torch.tensor([0.5, -0.2], dtype=torch.float64)
    x = draws(7, 2)
    found = log_likelihood(linear(A, b), x, TIGHT, ExactTrace())
    # from t = 1 to 0: log |det ∂z/∂x| = −tr A
    torch.testing.assert_close(found.log_det, torch.full((7,), -0.7, dtype=torch.float64))
    # z = e^{−A}x − ∫₀¹ e^{−As} s b ds, so that x is Gaussian with covariance e^A e^{Aᵀ}
    s = torch.linspace(0, 1, 2001, dtype=torch.float64)
    powers = torch.linalg.matrix_exp(-A * s[:, None, None])
    shift = torch.trapezoid(s[:, None] * (powers @ b), s, dim=0)
    expected = x @ torch.linalg.matrix_exp(-A).T - shift
    torch.testing.assert_close(found.z, expected, rtol=1e-6, atol=1e-6)  # trapezoid: h²/12 · |g″| ≈ 1e-7
    E = torch.linalg.matrix_exp(A)
    gauss = torch.distributions.MultivariateNormal(E @ shift, covariance_matrix=E @ E.T)
    torch.testing.assert_close(found.log_prob, gauss.log_prob(x), rtol=1e-6, atol=1e-6)


def test_hutchinson_is_exact_for_a_diagonal_field(linear):
    # εᵀ diag(a) ε = Σ a for signs
    A = torch.diag(torch.tensor([0.3, -0.8, 0.1], dtype=torch.float64))
    torch.manual_seed(0)
    found = log_likelihood(linear(A), draws(4, 3), TIGHT, HutchinsonTrace())
    torch.testing.assert_close(found.log_det, torch.full((4,), 0.4, dtype=torch.float64))


def test_log_density_is_the_change_of_variables_by_the_exact_jacobian_of_the_flow(mlp):
    net, x = mlp(gain=3.0), draws(4, 2)

    def encode(z):
        return TIGHT.solve(Velocity(net), z, [1.0, 0.0]).ys[-1]

    found = log_likelihood(net, x, TIGHT, ExactTrace())
    J = jacobians(encode, x)
    assert (torch.linalg.slogdet(J).logabsdet.abs() > 0.05).all()  # the flow does change volumes
    torch.testing.assert_close(found.z, encode(x), rtol=1e-8, atol=1e-8)
    expected = log_normal(encode(x)) + torch.linalg.slogdet(J).logabsdet
    torch.testing.assert_close(found.log_prob, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("family", [CNF, FFJORD])
def test_density_of_a_trained_flow_integrates_to_one(family):
    torch.manual_seed(0)
    module = family(POINTS, backbone=MLP(hidden=16, layers=2))
    optimizer = torch.optim.Adam(module.net.parameters(), lr=0.02)
    x = 0.5 * draws(128, 2).float() + torch.tensor([1.5, 0.0]) * (torch.arange(128) % 2 * 2 - 1)[:, None]
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = module.objective(x, None, "train").terms["loss"]
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.2  # it is no longer the Gaussian that it starts near
    module.average.module.load_state_dict(module.net.state_dict())
    line = torch.linspace(-7, 7, 141)
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).reshape(-1, 2)
    with torch.no_grad():
        total = float(module(grid).exp().double().sum()) * 0.1**2
    # smooth on the scale of the spacing, so that the midpoint rule converges faster than any power
    assert total == pytest.approx(1, abs=1e-3)


def test_there_and_back_returns_the_data(mlp):
    module = CNF(POINTS).double()
    module.net.load_state_dict(mlp(hidden=64, layers=3).state_dict())
    module.average.module.load_state_dict(module.net.state_dict())
    module.solver = TIGHT
    x = draws(6, 2)
    z = module.encode(x)
    assert (z - x).abs().max() > 0.1
    back, _ = module.generate(z, range(6), 0)
    torch.testing.assert_close(back, x, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(module.likelihood(x).z, z, rtol=1e-7, atol=1e-7)


def test_per_sample_steps_give_the_same_likelihood(mlp):
    net, x = mlp(gain=3.0), draws(8, 2)
    loose = log_likelihood(net, x, Dopri5(per_sample=True, rtol=1e-8, atol=1e-8), ExactTrace())
    tight = log_likelihood(net, x, TIGHT, ExactTrace())
    torch.testing.assert_close(loose.log_prob, tight.log_prob, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "solver",
    [
        Dopri5(rtol=1e-8, atol=1e-8, gradient="checkpoint"),
        TorchDiffEq(rtol=1e-8, atol=1e-8, gradient="adjoint"),
    ],
    ids=["checkpoint", "adjoint"],
)
def test_every_gradient_mode_gives_the_gradient_of_the_likelihood(mlp, solver):
    x, grads = draws(5, 2), []
    for chosen in (Dopri5(rtol=1e-8, atol=1e-8), solver):
        net = mlp()
        log_likelihood(net, x, chosen, ExactTrace()).log_prob.mean().backward()
        grads.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
    # each is that of the flow to the tolerance of its solve
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------- penalties, STEER, bits


def test_penalties_are_the_integrals_of_linear_flows(linear):
    # A antisymmetric: ‖Ax‖ is constant along the flow, and so is ‖A‖_F
    A = torch.tensor([[0.0, -1.5], [1.5, 0.0]], dtype=torch.float64)
    x = draws(5, 2)
    found = log_likelihood(linear(A), x, TIGHT, ExactTrace(), penalties=True)
    torch.testing.assert_close(found.kinetic, 2.25 * x.square().sum(dim=1))
    torch.testing.assert_close(found.jacobian, torch.full((5,), 4.5, dtype=torch.float64))
    plain = log_likelihood(linear(A), x, TIGHT, ExactTrace())
    assert plain.kinetic is plain.jacobian is None
    torch.testing.assert_close(plain.log_prob, found.log_prob)


def test_penalties_join_the_training_loss_alone():
    torch.manual_seed(0)
    module = CNF(POINTS, kinetic=0.5, jacobian=0.25).train()
    terms = module.objective(draws(8, 2).float(), None, "train").terms
    assert set(terms) == {"loss", "kinetic", "jacobian"}
    assert all(float(terms[name]) > 0 for name in ("kinetic", "jacobian"))
    assert set(module.objective(draws(8, 2).float(), None, "val").terms) == {"loss"}
    assert set(CNF(POINTS).objective(draws(8, 2).float(), None, "train").terms) == {"loss"}


def test_steer_moves_the_time_of_the_noise_in_training_alone(monkeypatch):
    ends = []
    import integrand.modules.generative.cnf as where

    original = where.log_likelihood

    def spy(net, x, solver, trace, penalties=False, end=0.0):
        ends.append(end)
        return original(net, x, solver, trace, penalties, end)

    monkeypatch.setattr(where, "log_likelihood", spy)
    x = draws(3, 2).float()
    module = FFJORD(POINTS, b=0.3, train_solver=Dopri5(num_steps=2)).train()
    for _ in range(20):
        module.objective(x, None, "train")
    assert all(-0.3 <= e <= 0.3 for e in ends)
    assert min(ends) < -0.1
    assert max(ends) > 0.1
    ends.clear()
    FFJORD(POINTS).train().objective(x, None, "train")
    assert ends == [0.0]


def test_bits_per_dimension_count_grey_levels():
    # a flow that stands still: p is standard normal
    spec = ImageSpec("images", Classes(2), (1, 2, 2), bin_widths=(0.5,))
    module = CNF(spec, backbone=Conv(hidden=1, layers=1))
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
    x = torch.zeros(5000, 1, 2, 2)
    torch.manual_seed(0)
    found, _ = module.likelihood_scores(x)
    # u uniform on [0, ½): E u²/2 = (½)²/6; each cell holds p · ½
    nats = 0.25 / 6 + 0.5 * math.log(2 * math.pi)
    # 20,000 draws of u²/2 with deviation 0.037: 5 standard errors are 1.3e-3
    assert float(found["nll"]) / 4 == pytest.approx(nats, abs=1.5e-3)
    assert float(found["bpd"]) == pytest.approx((nats - math.log(0.5)) / math.log(2), abs=2.5e-3)


@pytest.mark.parametrize(
    ("family", "kwargs", "message"),
    [
        (CNF, {"kinetic": -1.0}, "kinetic must be 0 or more"),
        (CNF, {"jacobian": math.nan}, "jacobian must be 0 or more"),
        (CNF, {"b": 1.0}, r"b must lie in \[0, 1\)"),
        (CNF, {"ema": 1.0}, "ema must lie between 0 and 1"),
        (CNF, {"sample_batch": 0}, "sample_batch must be at least 1"),
        (CNF, {"backbone": Conv()}, "Conv takes images"),
        (FFJORD, {"probe": "uniform"}, "no distribution 'uniform'"),
        (FFJORD, {"probes": 0}, "probes must be at least 1"),
    ],
)
def test_wrong_settings_are_refused(family, kwargs, message):
    with pytest.raises(UsageError, match=message):
        family(POINTS, **kwargs)
