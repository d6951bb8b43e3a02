"""The explicit engine: accuracy, accounts, gradients, independence of samples, kernels and read-backs."""

import math

import pytest
import torch
from scipy.integrate import solve_ivp
from torch import nn

from integrand.registry import import_package, subclasses
from integrand.solvers import (
    RK4,
    RK38,
    Bosh3,
    Dopri5,
    Dopri8,
    Euler,
    EvaluationCounter,
    Heun,
    MaxNFEError,
    Midpoint,
    NonFiniteStateError,
    RungeKutta,
    SolverError,
    SolverOptionError,
    Status,
    StepUnderflowError,
    TorchDiffEq,
    Tsit5,
)

import_package("integrand.solvers")
METHODS = [m for m in subclasses(RungeKutta) if hasattr(m, "tableau")]
PAIRS = [m for m in METHODS if m.tableau.b_low is not None]
MODES = [
    *[(m, {"num_steps": 9}) for m in METHODS],
    *[(m, {"rtol": 1e-5, "atol": 1e-5}) for m in PAIRS],
    *[(m, {"rtol": 1e-5, "atol": 1e-5, "per_sample": True}) for m in PAIRS],
]


class Broadcasting(nn.Module):
    """The small network for t of shape () and (batch, 1)."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, t, y):
        return self.net.outer(torch.tanh(self.net.inner(torch.cat((y, t * torch.ones_like(y[:, :1])), 1))))


@pytest.fixture
def field(tanh_net):
    return Broadcasting(tanh_net)


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
@pytest.mark.parametrize(("method", "mode"), MODES)
@pytest.mark.parametrize("times", [[0.0, 1.0], [1.0, 0.7, 0.3, 0.25, -0.5]])
def test_reported_evaluations_are_the_counted_ones(method, mode, gradient, times, field, state):
    counter = EvaluationCounter(field)
    solution = method(gradient=gradient, **mode).solve(counter, state.requires_grad_(), times)
    stats = solution.stats
    assert stats.nfe_forward == counter.reset() > 0
    assert stats.nfe_backward == stats.vjps == 0
    solution.ys.square().sum().backward()
    assert stats.nfe_backward == counter.reset()
    if gradient == "checkpoint":
        assert stats.vjps == stats.nfe_backward > 0
    else:
        assert stats.nfe_backward == 0
        assert 0 < stats.vjps <= stats.nfe_forward
    if "num_steps" in mode:
        assert stats.nfe_forward == method.tableau.needed * stats.accepted
        assert stats.vjps == stats.nfe_forward
    if stats.nfe_per_sample is not None:
        attempts = stats.accepted_per_sample + stats.rejected_per_sample
        assert stats.accepted_per_sample.max() == stats.accepted
        assert stats.nfe_per_sample.max() <= stats.nfe_forward
        assert attempts.max() <= stats.accepted + stats.rejected
        if method.tableau.fsal:
            assert torch.equal(stats.nfe_per_sample, 2 + (method.tableau.stages - 1) * attempts)


@pytest.mark.parametrize(("method", "mode"), MODES)
@pytest.mark.parametrize("times", [[0.0, 1.0], [1.0, 0.7, 0.3, 0.25, -0.5]])
def test_checkpoint_is_backprop_to_rounding(method, mode, times, field, state):
    """The same discrete solve, so equal to 1e-10 in float64, here also for outputs inside steps."""
    weights = torch.linspace(1, 2, len(times), dtype=torch.float64)[:, None, None]
    gradients = []
    for gradient in ("backprop", "checkpoint"):
        y0 = state.clone().requires_grad_()
        ys = method(gradient=gradient, **mode).solve(field, y0, times).ys
        loss = (weights * ys.square()).sum()
        gradients.append(torch.autograd.grad(loss, (y0, *field.parameters())))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
@pytest.mark.parametrize("mode", [{"num_steps": 40}, {"rtol": 1e-9, "atol": 1e-9}])
def test_gradients_of_problems_with_closed_forms(gradient, mode, fields):
    """Decay, rotation, and both by the initial state and by the rate; Dopri5 errs by less than 1e-7 here."""
    y0 = torch.tensor([[1.0, 0.5], [-0.3, 2.0]], dtype=torch.float64, requires_grad=True)
    solver = Dopri5(gradient=gradient, **mode)
    for rate, end in ((-2.0, 2.0), (0.8, 1.5)):
        field = fields["linear"](rate)
        y1 = solver.solve(field, y0, [0.0, end]).ys[-1]
        by_y0, by_rate = torch.autograd.grad(y1.sum(), (y0, field.rate))
        growth = math.exp(rate * end)
        torch.testing.assert_close(by_y0, torch.full_like(y0, growth), rtol=1e-6, atol=0)
        assert by_rate.item() == pytest.approx(end * growth * y0.sum().item(), rel=1e-6)
    omega, end = 3.0, 2.0
    field = fields["oscillator"](omega)
    y1 = solver.solve(field, y0, [0.0, end]).ys[-1]
    by_y0, by_omega = torch.autograd.grad(y1[:, 0].sum(), (y0, field.omega))
    c, s = math.cos(omega * end), math.sin(omega * end)
    torch.testing.assert_close(by_y0, torch.tensor([[c, s]] * 2, dtype=torch.float64), rtol=1e-5, atol=1e-6)
    exact = (end * (-s * y0[:, 0] + c * y0[:, 1])).sum().item()
    assert by_omega.item() == pytest.approx(exact, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("mode", [{}, {"per_sample": True}])
@pytest.mark.parametrize("method", PAIRS)
def test_adaptive_steps_agree_with_scipy(method, mode, field, state):
    tol = 1e-5 if method.order == 2 else 1e-8
    times = [0.0, 0.31, 0.33, 1.5]
    ours = method(rtol=tol, atol=tol, **mode).solve(field, state, times).ys

    def flat(t, y):
        with torch.no_grad():
            return field(torch.tensor(t), torch.from_numpy(y).view(5, 3)).numpy().ravel()

    theirs = solve_ivp(
        flat, (0, 1.5), state.numpy().ravel(), method="DOP853", t_eval=times, rtol=1e-12, atol=1e-12
    )
    truth = torch.from_numpy(theirs.y.T.copy()).view(4, 5, 3)
    # the tolerance bounds each step's error; a few dozen steps and the field's growth add up to 30 of it
    torch.testing.assert_close(ours, truth, rtol=0, atol=30 * tol)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(Euler, "euler"), (Midpoint, "midpoint"), (Heun, "heun2"), (RK38, "rk4")],
)
def test_fixed_steps_are_torchdiffeqs(ours, theirs, field, state):
    for times in ([0.0, 1.0], [0.5, 0.2, -1.0]):
        a = ours(num_steps=12).solve(field, state, times).ys
        b = TorchDiffEq(theirs, num_steps=12).solve(field, state, times).ys
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("method", [Bosh3, Dopri5, Tsit5])
def test_dense_output_costs_nothing_and_keeps_its_order(method, field, state):
    """With tight steps the error between steps is no more than a few times the one at their ends."""
    solver = method(rtol=1e-6, atol=1e-6)
    few = solver.solve(field, state, [0.0, 1.0])
    times = torch.linspace(0, 1, 33, dtype=torch.float64)
    many = solver.solve(field, state, times)
    assert many.stats.nfe_forward == few.stats.nfe_forward
    truth = Dopri8(num_steps=64).solve(field, state, times).ys
    torch.testing.assert_close(many.ys, truth, rtol=0, atol=2e-5)


def test_time_reversal(field, state):
    there = Dopri5(rtol=1e-9, atol=1e-9).solve(field, state, [0.0, 1.5]).ys[-1]
    back = Dopri5(rtol=1e-9, atol=1e-9).solve(field, there, [1.5, 0.0]).ys[-1]
    torch.testing.assert_close(back, state, rtol=0, atol=1e-7)


@pytest.mark.parametrize("method", PAIRS)
def test_samples_are_independent_of_their_batch(method, field, state):
    """Alone, in the batch, and beside one that needs ten times the steps: equal to rounding."""
    solver = method(rtol=1e-5, atol=1e-5, per_sample=True)
    wild = torch.cat((state, torch.full((1, 3), 40.0, dtype=torch.float64)))
    together = solver.solve(field, wild, [0.0, 0.4, 1.0])
    for i in range(5):
        alone = solver.solve(field, state[i : i + 1], [0.0, 0.4, 1.0])
        # matrix products of other sizes round differently, which the step control may pass on
        torch.testing.assert_close(together.ys[:, i], alone.ys[:, 0], rtol=1e-10, atol=1e-10)
        assert together.stats.accepted_per_sample[i] == alone.stats.accepted_per_sample[0]
    shared = method(rtol=1e-3, atol=1e-3)
    a, b = shared.solve(field, state, [0.0, 1.0]).ys[-1], shared.solve(field, wild, [0.0, 1.0]).ys[-1, :5]
    assert (a - b).abs().max() > 1e-9  # what per_sample is for


class Poles(nn.Module):
    """ẏ = a y²: y0 > 0 meets a pole at t = 1 / (a y0)."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def forward(self, t, y):
        return self.a * y * y


def test_one_failing_sample_need_not_stop_the_others():
    y0 = torch.tensor([[0.2], [4.0], [-1.0]], dtype=torch.float64)  # poles at 5, 1/4, never
    with pytest.raises((StepUnderflowError, NonFiniteStateError), match=r"sample 1 failed at t=0\.25"):
        Dopri5(per_sample=True).solve(Poles(), y0, [0.0, 1.0])
    field = Poles()
    solver = Dopri5(per_sample=True, on_failure="continue", gradient="checkpoint")
    solution = solver.solve(field, y0, [0.0, 1.0])
    assert solution.status is Status.PARTIAL
    assert solution.failed.tolist() == [False, True, False]
    exact = y0 / (1 - y0)
    torch.testing.assert_close(solution.ys[-1, [0, 2]], exact[[0, 2]], rtol=1e-4, atol=0)
    loss = solution.ys[-1, ~solution.failed].sum()
    loss.backward()
    # dy(1)/da = y0² / (1 - a y0)²
    assert field.a.grad.item() == pytest.approx((exact[[0, 2]] ** 2).sum().item(), rel=1e-3)


def test_failures_are_typed_and_say_where():
    one = torch.ones(1, 1, dtype=torch.float64)
    with pytest.raises((StepUnderflowError, NonFiniteStateError), match=r"t=1.*NFE \d+"):
        Dopri5().solve(Poles(), one, [0.0, 2.0])
    with pytest.raises(NonFiniteStateError, match="not finite"):
        RK4(num_steps=2000).solve(Poles(), one, [0.0, 3.0])
    with pytest.raises(MaxNFEError, match="NFE 50"):
        Dopri5(max_nfe=50, rtol=1e-12, atol=1e-12).solve(Poles(), one, [0.0, 0.9])

    class NaN(nn.Module):
        def forward(self, t, y):
            return y * math.nan

    for mode in ({}, {"per_sample": True}, {"first_step": 0.1}):
        with pytest.raises(NonFiniteStateError):
            Dopri5(**mode).solve(NaN(), one, [0.0, 1.0])


@pytest.mark.parametrize("method", [RK4, Dopri5, Tsit5, Dopri8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtypes(method, dtype, field, state):
    """bfloat16 states meet wider weights in the weights' dtype and come back as bfloat16."""
    field = field.float() if dtype is not torch.float64 else field
    mode = {"num_steps": 20} if method is RK4 else {}
    solution = method(**mode).solve(field, state.to(dtype), [0.0, 1.0])
    assert solution.ys.dtype == dtype
    assert solution.ts.dtype == torch.float64
    truth = Dopri8(num_steps=32).solve(field.double(), state.to(dtype).double(), [0.0, 1.0]).ys
    tol = {torch.float64: 2e-4, torch.float32: 2e-4, torch.bfloat16: 2e-2}[dtype]
    torch.testing.assert_close(solution.ys.double(), truth, rtol=tol, atol=tol)


@pytest.mark.parametrize(
    "solver", [RK4(num_steps=3), Dopri5(), Dopri5(per_sample=True), Tsit5(gradient="checkpoint")]
)
def test_edges(solver, field, state):
    assert torch.equal(solver.solve(field, state, [0.3]).ys, state[None])
    assert torch.equal(solver.solve(field, state, [0.3, 0.3]).ys[1], state)
    twice = solver.solve(field, state, [0.0, 0.5, 0.5, 1.0]).ys
    assert torch.equal(twice[1], twice[2])
    assert solver.solve(field, state[:0], [0.0, 1.0]).ys.shape == (2, 0, 3)
    close = solver.solve(field, state, [0.0, 1e-9]).ys
    torch.testing.assert_close(close[1], state, rtol=0, atol=1e-7)
    still = solver.solve(_Still(), state, [0.0, 100.0])
    assert torch.equal(still.ys[-1], state)


class _Still(nn.Module):
    def forward(self, t, y):
        return torch.zeros_like(y)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RK4(), "no error estimate"),
        (lambda: RK4(num_steps=3, step_size=0.1), "both"),
        (lambda: Dopri5(num_steps=3, rtol=1e-3), "does not take rtol"),
        (lambda: Dopri5(num_steps=3, per_sample=True), "does not take per_sample"),
        (lambda: Dopri5(gradient="adjoint"), "unknown gradient"),
        (lambda: Dopri5(on_failure="continue"), "per_sample"),
        (lambda: Dopri5(on_failure="continue", per_sample=True), "checkpoint"),
        (lambda: Dopri5(atol=-1.0), "atol must be positive"),
    ],
)
def test_inapplicable_options_are_refused(make, words):
    with pytest.raises(SolverOptionError, match=words):
        make()


def test_stiffness_is_told(fields):
    one = torch.ones(1, 1, dtype=torch.float64)
    stiff = Dopri5(rtol=1e-3, atol=1e-3).solve(fields["linear"](-200.0), one, [0.0, 5.0]).stats
    mild = Dopri5(rtol=1e-5, atol=1e-5).solve(
        fields["oscillator"](), torch.ones(1, 2, dtype=torch.float64), [0.0, 5.0]
    )
    assert stiff.stiffness > 0.7
    assert mild.stats.stiffness < 0.3
    assert len(stiff.step_sizes) == stiff.accepted
    assert sum(stiff.step_sizes) == pytest.approx(5.0)


def test_checkpoint_refuses_second_derivatives_and_dropout(field, state):
    y0 = state.requires_grad_()
    ys = Dopri5(gradient="checkpoint").solve(field, y0, [0.0, 1.0]).ys
    with pytest.raises(SolverError, match="second derivative"):
        torch.autograd.grad(ys.sum(), y0, create_graph=True)
    noisy = nn.Module()
    noisy.drop = nn.Dropout(0.5)
    noisy.forward = lambda t, y: noisy.drop(y)
    with pytest.raises(SolverOptionError, match="drop"):
        Dopri5(gradient="checkpoint").solve(noisy, y0, [0.0, 1.0])


def test_backprop_has_second_derivatives(fields):
    y0 = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    ys = RK4(num_steps=8).solve(Poles(), 0.3 * y0, [0.0, 1.0]).ys
    (first,) = torch.autograd.grad(ys[-1].sum(), y0, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), y0)
    # y(1) = x / (1 - x) with x = 0.3 y0: second derivative 0.09 · 2 / (1 - x)³
    assert second.item() == pytest.approx(0.18 / 0.7**3, rel=1e-3)


def test_checkpoint_keeps_one_state_per_step(field, state):
    """Bytes that the graph saves, counted by hooks; the field's own weights are saved once, not per step."""
    kept = {}
    for n in (10, 30):
        sizes = {}

        def pack(x, sizes=sizes):
            sizes[x.data_ptr()] = x.numel() * x.element_size()
            return x

        y0 = state.clone().requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            ys = RK4(num_steps=n, gradient="checkpoint").solve(field, y0, [0.0, 1.0]).ys
        kept[n] = sum(sizes.values())
        assert ys.requires_grad
    assert kept[30] - kept[10] <= 20 * 2 * state.numel() * state.element_size()
