"""What every discovered stochastic method must do: right gradients, true accounts, torchsde's numbers."""

import pytest
import torch
import torchsde
from sde_cases import Image, Twisted, case, discovered

from integrand.errors import SpecError
from integrand.solvers import (
    SRK,
    BrownianPath,
    EulerHeun,
    EulerMaruyama,
    MaxNFEError,
    Milstein,
    ReversibleHeunSDE,
    SolverError,
    SolverOptionError,
    StratonovichHeun,
    StratonovichMidpoint,
)
from integrand.solvers.sde.solver import OneStepSDE
from integrand.solvers.sde.torchsde_path import EnginePath

BATCH = 6
TIMES = [0.0, 0.25, 1.0]
WEIGHTS = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)[:, None, None]
METHODS = discovered(OneStepSDE)
KINDS = [
    pytest.param(method, noise_type, id=f"{method.__name__}-{noise_type}")
    for method in METHODS
    for noise_type in method.noise_types
]


def parameter(sde):
    return sde.size if isinstance(sde, Twisted) else sde.matrix


def loss(ys):
    return (WEIGHTS * torch.sin(ys)).sum()


def gradients(method, sde, gradient, n=16):
    """Gradients to the initial state and the diffusion's parameters along the path of one seed."""
    y0 = sde.start(BATCH).clone().requires_grad_()
    solution = method(num_steps=n, gradient=gradient).solve(sde, y0, TIMES, seed=1)
    return torch.autograd.grad(loss(solution.ys), (y0, parameter(sde))), solution


@pytest.mark.parametrize(("method", "noise_type"), KINDS)
def test_backprop_is_the_derivative(method, noise_type):
    """By central differences along the path: curvature 1e-12, rounding 1e-16 / 1e-6."""
    sde = case(noise_type, method.sde_types[-1])
    (_, found), _ = gradients(method, sde, "backprop")
    direction = torch.randn(found.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = []
    with torch.no_grad():
        for shift in (1e-6, -2e-6):
            parameter(sde).add_(shift * direction)
            solution = method(num_steps=16).solve(sde, sde.start(BATCH), TIMES, seed=1)
            values.append(loss(solution.ys).item())
    expected = (values[0] - values[1]) / 2e-6
    assert (found * direction).sum().item() == pytest.approx(expected, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(("method", "noise_type"), KINDS)
def test_exact_modes_are_backprop_to_rounding(method, noise_type):
    sde = case(noise_type, method.sde_types[-1])
    expected, _ = gradients(method, sde, "backprop")
    for mode in method.gradients:
        if mode not in ("backprop", "adjoint"):
            found, _ = gradients(method, sde, mode)
            for a, b in zip(found, expected, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore:.*missed the initial one")
@pytest.mark.parametrize(("method", "noise_type"), [k for k in KINDS if "adjoint" in k.values[0].gradients])
def test_the_adjoint_converges_to_backprop(method, noise_type):
    """The states are rebuilt to the method's order, 1/2 or 1: 16 times the steps leave a quarter."""
    sde = case(noise_type, "stratonovich")
    errors = []
    for n in (16, 256):
        expected, _ = gradients(method, sde, "backprop", n)
        found, _ = gradients(method, sde, "adjoint", n)
        errors.append(max(float((a - b).norm() / b.norm()) for a, b in zip(found, expected, strict=True)))
    assert errors[0] < 0.3
    # √16 at least, or rounding on the linear problem; a few paths scatter it
    assert errors[1] < max(errors[0] / 2.5, 1e-12)


@pytest.mark.filterwarnings("ignore:.*missed the initial one")
@pytest.mark.parametrize(
    ("method", "noise_type", "mode"),
    [
        pytest.param(*kind.values, mode, id=f"{kind.id}-{mode}")
        for kind in KINDS
        for mode in kind.values[0].gradients
    ],
)
def test_accounts(method, noise_type, mode):
    sde = case(noise_type, method.sde_types[0])
    calls = {"f": 0, "g": 0}

    def spy(name, original):
        def call(t, y):
            calls[name] += 1
            return original(t, y)

        return call

    for name in calls:
        setattr(sde, name, spy(name, getattr(sde, name)))
    y0 = sde.start(BATCH).clone().requires_grad_()
    stats = (solution := method(num_steps=8, gradient=mode).solve(sde, y0, TIMES, seed=1)).stats
    assert (stats.nfe_forward, stats.nfe_diffusion) == (calls["f"], calls["g"])
    assert (stats.accepted, stats.rejected, stats.gradient) == (8, 0, mode)
    calls.update(f=0, g=0)
    loss(solution.ys).backward()
    assert (stats.nfe_backward, stats.nfe_diffusion_backward) == (calls["f"], calls["g"])
    assert stats.vjps > 0


PAIRS = [
    (EulerMaruyama, "euler", "ito", 0),
    (StratonovichHeun, "heun", "stratonovich", 0),
    (StratonovichMidpoint, "midpoint", "stratonovich", 0),
    (EulerHeun, "euler_heun", "stratonovich", 0),
    (ReversibleHeunSDE, "reversible_heun", "stratonovich", 0),
    # theirs takes the derivative, ours a difference: h apart, and √h in Itô's mean-zero part
    (Milstein, "milstein", "ito", 3e-2),
    (Milstein, "milstein", "stratonovich", 1e-2),
    # theirs is SRI2 and SRA1, ours SRID2 and SRA1
    (SRK, "srk", "ito", 1e-2),
]


@torch.no_grad()
@pytest.mark.parametrize(
    ("method", "theirs", "sde_type", "apart", "noise_type"),
    [
        pytest.param(*pair, noise_type, id=f"{pair[1]}-{pair[2]}-{noise_type}")
        for pair in PAIRS
        for noise_type in ("diagonal", "scalar", "additive", "general")
        if noise_type in pair[0].noise_types
    ],
)
def test_agrees_with_torchsde_on_one_path(method, theirs, sde_type, apart, noise_type):
    sde = case(noise_type, sde_type)
    shape = sde.noise_shape(BATCH)
    path = BrownianPath(7, [0.0, 1.0], shape, torch.float64)
    y0, n = sde.start(BATCH), 64
    ours = method(num_steps=n).solve(sde, y0, [0.0, 0.5, 1.0], brownian=path).ys
    nodes = [i / n for i in range(n + 1)]
    bm = EnginePath(path, nodes, shape, torch.float64, y0.device)
    ts = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    other = torchsde.sdeint(sde, y0, ts, bm=bm, method=theirs, dt=1 / n)
    torch.testing.assert_close(ours, other, rtol=0, atol=apart or 1e-12)


def test_the_reversible_gradient_keeps_no_states():
    """As many tensors are saved for 8 steps as for 256."""
    saved = []
    for n in (8, 256):
        sde = Image("diagonal", "stratonovich")
        y0 = sde.start(BATCH).clone().requires_grad_()
        ys = ReversibleHeunSDE(num_steps=n).solve(sde, y0, [0.0, 1.0], seed=1).ys
        node = ys.grad_fn
        while not hasattr(node, "saved_tensors") or not node.saved_tensors:
            node = node.next_functions[0][0]
        saved.append(len(node.saved_tensors))
    assert saved[0] == saved[1]


def test_refusals():
    y0 = torch.ones(4, 2, dtype=torch.float64)

    class Wrong(Twisted):
        noise_type = "commutative"

    with pytest.raises(SolverOptionError, match="declared commutative is not"):
        Milstein(num_steps=4).solve(Wrong(), y0, [0.0, 1.0])
    # fields that commute pass the check in float32 too
    single = Image("commutative").float()
    single.c = single.c.float()
    Milstein(num_steps=4).solve(single, y0.float(), [0.0, 1.0])
    with pytest.raises(SolverOptionError, match="fixed steps only"):
        ReversibleHeunSDE(rtol=1e-3).solve(Image(sde_type="stratonovich"), y0, [0.0, 1.0])
    with pytest.raises(SolverOptionError, match="unknown gradient"):
        EulerMaruyama(num_steps=4, gradient="adjoint")
    for noise_type, columns in (("diagonal", 3), ("scalar", 2)):
        sde = Image(noise_type)
        sde.g = lambda t, y, n=columns: torch.ones(len(y), 2, n, dtype=y.dtype)
        with pytest.raises(SpecError, match=f"{noise_type} noise of shape"):
            EulerMaruyama(num_steps=4).solve(sde, y0, [0.0, 1.0])
    sde = Image()
    sde.f = lambda t, y: y[:, :1]
    with pytest.raises(SpecError, match="the drift returned shape"):
        EulerMaruyama(num_steps=4).solve(sde, y0, [0.0, 1.0])
    with pytest.raises(MaxNFEError, match="max_nfe=3"):
        EulerMaruyama(num_steps=4, max_nfe=3).solve(Image(), y0, [0.0, 1.0])
    assert EulerMaruyama(num_steps=4).max_nfe is None  # fixed steps end by themselves
    second = Image("diagonal", "stratonovich")
    leaf = y0.clone().requires_grad_()
    ys = ReversibleHeunSDE(num_steps=4).solve(second, leaf, [0.0, 1.0]).ys
    with pytest.raises(SolverError, match="no second derivative"):
        torch.autograd.grad(ys.sum(), leaf, create_graph=True)


def test_an_adjoint_that_misses_the_start_warns():
    sde = Image("diagonal", "stratonovich")
    y0 = sde.start(BATCH).clone().requires_grad_()
    ys = StratonovichHeun(num_steps=2, gradient="adjoint").solve(sde, y0, [0.0, 4.0], seed=1).ys
    with pytest.warns(UserWarning, match="missed the initial one"):
        ys.sum().backward()
