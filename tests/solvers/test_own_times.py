"""Times of each sample's own: equal to a loop over single solves, in states, gradients and refusals."""

import pytest
import torch
from torch import nn

from integrand.errors import SpecError
from integrand.solvers import (
    RK4,
    SDIRK3,
    Bosh3,
    Dopri5,
    Dopri8,
    EvaluationCounter,
    Heun,
    ImplicitMidpoint,
    KenCarp4,
    Kvaerno5,
    NonFiniteStateError,
    Nystrom4,
    Reversible,
    Rodas5P,
    RungeKutta,
    SecondOrderField,
    SolverOptionError,
    SplitField,
    TorchDiffEq,
    Tsit5,
    Yoshida4,
)
from integrand.solvers.fractional import CaputoPECE
from integrand.solvers.lockstep import solve_with_updates

TIGHT = {"rtol": 1e-10, "atol": 1e-10}
SOLVERS = [
    RK4(num_steps=60),
    RK4(num_steps=60, gradient="checkpoint"),
    Dopri5(**TIGHT),
    Dopri5(**TIGHT, gradient="checkpoint"),
    Tsit5(**TIGHT, per_sample=True),
    Tsit5(**TIGHT, per_sample=True, gradient="checkpoint"),
    Dopri8(**TIGHT),
    Dopri8(**TIGHT, per_sample=True, gradient="checkpoint"),
    Bosh3(rtol=1e-8, atol=1e-8),
    Heun(rtol=1e-7, atol=1e-7, per_sample=True),
    Heun(rtol=1e-7, atol=1e-7, gradient="checkpoint"),
    # these step on every time of any sample
    Kvaerno5(rtol=1e-8, atol=1e-8),
    Kvaerno5(rtol=1e-8, atol=1e-8, gradient="checkpoint"),
    Rodas5P(rtol=1e-9, atol=1e-9),
    SDIRK3(step_size=0.01),
    Reversible(num_steps=300),
]
NAMES = [f"{s.describe()} {s.gradient}" for s in SOLVERS]


class Driven(nn.Module):
    """A small network driven by the time, for t of shape () and (batch, 1)."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.w = nn.Parameter(torch.randn(3, 3, generator=generator, dtype=torch.float64))
        self.u = nn.Parameter(torch.randn(3, generator=generator, dtype=torch.float64))

    def forward(self, t, y):
        return torch.tanh(y @ self.w + self.u * torch.sin(2 * t)) - 0.3 * y


class Pendulum(SecondOrderField):
    """q̈ = -sin q."""

    def force(self, t, q):
        return -torch.sin(q)


@pytest.fixture
def field():
    return Driven()


@pytest.fixture
def y0():
    return torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


TIMES = torch.tensor(
    [
        [0.0, 0.3, 0.31, 1.2, 2.0],
        [1.0, 0.9, 0.2, -0.5, -0.5],  # backwards, with a tie
        [0.5, 0.5, 0.5, 0.5, 0.5],  # nowhere
        [-1.0, 0.0, 0.6, 0.8, 0.85],
    ],
    dtype=torch.float64,
)


def loop(field, y0, times, solver=None):
    """Sample by sample, by a solver of which every output is accurate."""
    solver = solver or Dopri8(rtol=1e-12, atol=1e-12)
    return torch.cat([solver.solve(field, y0[i : i + 1], times[i]).ys for i in range(len(y0))], 1)


@pytest.mark.parametrize("solver", SOLVERS, ids=NAMES)
def test_states_and_gradients_are_those_of_single_solves(solver, field, y0):
    """Also those by the times: every start and every output."""
    weights = torch.linspace(0.5, 2, TIMES.numel(), dtype=torch.float64).view(*TIMES.shape, 1).transpose(0, 1)
    results = []
    for solve in (lambda y, t: solver.solve(field, y, t).ys, lambda y, t: loop(field, y, t)):
        y, t = y0.clone().requires_grad_(), TIMES.clone().requires_grad_()
        ys = solve(y, t)
        gradients = torch.autograd.grad((weights * ys.square()).sum(), (y, t, *field.parameters()))
        results.append((ys.detach(), gradients))
    (ys, ours), (truth, theirs) = results
    tol = 2e-5 if isinstance(solver, Heun) else 2e-6
    torch.testing.assert_close(ys, truth, rtol=0, atol=tol)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=30 * tol)


@pytest.mark.parametrize("solver", SOLVERS, ids=NAMES)
def test_reported_evaluations_are_the_counted_ones(solver, field, y0):
    counter = EvaluationCounter(field)
    solution = solver.solve(counter, y0.clone().requires_grad_(), TIMES)
    stats = solution.stats
    assert stats.nfe_forward == counter.reset() > 0
    solution.ys.square().sum().backward()
    assert stats.nfe_backward == counter.reset()
    assert stats.vjps > 0
    if solver.gradient == "checkpoint" and isinstance(solver, RungeKutta):
        assert stats.vjps == stats.nfe_backward
    assert stats.solver == solver.describe()


def test_many_own_times_cost_no_evaluations(field, y0):
    """The solve does not stop at outputs, alone or with steps for every sample."""
    many = torch.rand(4, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).sort(1).values
    many[:, 0], many[:, -1] = 0.0, 1.0
    for mode in ({}, {"per_sample": True}):
        solver = Dopri5(**mode)
        few = solver.solve(field, y0, many[:, [0, -1]])
        assert solver.solve(field, y0, many).stats.nfe_forward == few.stats.nfe_forward
    common = torch.linspace(0, 1, 101, dtype=torch.float64)
    waiting = Dopri5(per_sample=True).solve(field, y0, common)
    assert waiting.stats.nfe_forward == Dopri5(per_sample=True).solve(field, y0, [0.0, 1.0]).stats.nfe_forward
    torch.testing.assert_close(waiting.ys, Dopri8(**TIGHT).solve(field, y0, common).ys, rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    "solver", [RK4(num_steps=20), Dopri5(**TIGHT), Dopri5(**TIGHT, per_sample=True), Rodas5P(**TIGHT)]
)
def test_what_is_masked_counts_nowhere(solver, field, y0):
    """Neither in states, nor in gradients, whatever stands there."""
    mask = torch.tensor(
        [[1, 1, 0, 1, 0], [1, 0, 1, 1, 1], [0, 0, 0, 0, 0], [0, 1, 1, 0, 1]], dtype=torch.bool
    )
    times = torch.where(mask, TIMES, float("nan")).requires_grad_()
    solution = solver.solve(field, y0, times, mask=mask)
    assert not solution.ys.transpose(0, 1)[~mask].any()
    for i in (0, 1, 3):
        alone = Dopri8(**TIGHT).solve(field, y0[i : i + 1], TIMES[i][mask[i]]).ys[:, 0]
        torch.testing.assert_close(solution.ys[:, i][mask[i]], alone, rtol=0, atol=2e-5)
    (by_times,) = torch.autograd.grad(solution.ys.square().sum(), times)
    assert torch.isfinite(by_times).all()
    assert not by_times[~mask].any()
    assert by_times[mask].abs().sum() > 0


def test_a_field_is_never_asked_outside_its_samples_span(field, y0):
    class Seen(nn.Module):
        low = high = None

        def forward(self, t, y):
            assert t.shape == (4, 1)
            self.low = t.clone() if self.low is None else torch.minimum(self.low, t)
            self.high = t.clone() if self.high is None else torch.maximum(self.high, t)
            return field(t, y)

    for solver in (RK4(num_steps=5), Dopri5(), Dopri5(per_sample=True), Dopri8(), SDIRK3(max_step=0.5)):
        seen = Seen()
        solver.solve(seen, y0, TIMES)
        assert (seen.low.squeeze(1) >= TIMES.amin(1)).all()
        assert (seen.high.squeeze(1) <= TIMES.amax(1)).all()


def test_float32_states_and_ties(field, y0):
    """6,400 random times tie in float32; unions are formed in float64, and ties are outputs like others."""
    times = torch.rand(4, 1600, generator=torch.Generator().manual_seed(3)).sort(1).values
    times[0, 5:9] = times[0, 5]
    ys = Dopri5(rtol=1e-4, atol=1e-4).solve(field.float(), y0.float(), times).ys
    assert ys.dtype == torch.float32
    assert torch.equal(ys[5, 0], ys[8, 0])
    truth = Dopri8(rtol=1e-9, atol=1e-9).solve(field.double(), y0.float().double(), times).ys
    torch.testing.assert_close(ys.double(), truth, rtol=0, atol=2e-3)


def test_own_times_that_do_not_fit_are_refused(field, y0):
    solver = Dopri5()
    with pytest.raises(SpecError, match="do not fit a batch of 4"):
        solver.solve(field, y0, TIMES[:3])
    turned, nan = TIMES.clone(), TIMES.clone()
    turned[2, 1], turned[2, 2] = 0.6, 0.4
    nan[3, 2] = float("nan")
    with pytest.raises(SpecError, match="sample 2 turn back"):
        solver.solve(field, y0, turned)
    with pytest.raises(NonFiniteStateError, match="sample 3"):
        solver.solve(field, y0, nan)
    with pytest.raises(SpecError, match="bool"):
        solver.solve(field, y0, TIMES, mask=torch.ones(4, 5))
    for either in (solver, SDIRK3()):
        with pytest.raises(SolverOptionError, match="own"):
            either.solve(field, y0, [0.0, 1.0], mask=torch.ones(4, 2, dtype=torch.bool))
    for other in (Dopri5(dense=True), Dopri5(save="steps"), Dopri5(jump_t=[0.5])):
        with pytest.raises(SolverOptionError, match="common times"):
            other.solve(field, y0, TIMES)
    with pytest.raises(SpecError, match="one-dimensional"):
        TorchDiffEq("dopri5").solve(field, y0, TIMES)


@pytest.mark.parametrize("solver", SOLVERS[:4], ids=NAMES[:4])
def test_updates_at_own_observations_are_those_of_single_loops(solver, field, y0):
    """An ODE-RNN in lockstep against one sample at a time."""
    cell = nn.Linear(3, 3, dtype=torch.float64)
    mask = torch.tensor(
        [[1, 1, 1, 0, 1], [1, 0, 1, 1, 1], [1, 1, 0, 0, 0], [0, 1, 1, 1, 1]], dtype=torch.bool
    )
    results = []

    def lockstep(y, t):
        def update(j, y):
            return torch.tanh(cell(y)) + 0.1 * j

        return solve_with_updates(solver, field, y, t, update, mask=mask).after[-1]

    def single(y, t):
        ends = []
        for i in range(4):
            here, last = y[i : i + 1], None
            for j in range(5):
                if not mask[i, j]:
                    continue
                if last is not None:
                    pair = torch.stack((last, t[i, j]))
                    here = Dopri8(rtol=1e-12, atol=1e-12).solve(field, here, pair).ys[-1]
                here, last = torch.tanh(cell(here)) + 0.1 * j, t[i, j]
            ends.append(here)
        return torch.cat(ends)

    for run in (lockstep, single):
        y, t = y0.clone().requires_grad_(), TIMES.clone().requires_grad_()
        end = run(y, t)
        results.append((end, torch.autograd.grad(end.square().sum(), (y, t, *cell.parameters()))))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-6)


def test_updates_count_all_gaps_in_one_account(field, y0):
    counter = EvaluationCounter(field)
    done = solve_with_updates(RK4(num_steps=1), counter, y0.requires_grad_(), TIMES, lambda j, y: y + 1)
    assert done.stats.nfe_forward == counter.reset() == 4 * 4
    assert done.stats.accepted == len(done.stats.step_sizes) == 4
    extremes = done.stats.min_step, done.stats.max_step
    assert extremes == (min(done.stats.step_sizes), max(done.stats.step_sizes))
    torch.testing.assert_close(done.after, done.before + 1)
    done.after.sum().backward()
    assert done.stats.vjps == 16
    with pytest.raises(SolverOptionError, match="lockstep"):
        solve_with_updates(SDIRK3(), field, y0, TIMES, lambda j, y: y)


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
@pytest.mark.parametrize("mode", [{"num_steps": 200}, TIGHT, {**TIGHT, "per_sample": True}])
def test_gradients_to_common_times(mode, gradient, field, y0):
    """Against central differences of the trajectory by every time, repeated ones included."""
    solver = Dopri5(gradient=gradient, **mode)
    times = [0.2, 0.2, 0.5, 1.1, 1.1, 1.6]

    def loss(values):
        return (solver.solve(field, y0, values).ys * weights).square().sum()

    weights = torch.linspace(1, 2, 6, dtype=torch.float64).view(6, 1, 1)
    t = torch.tensor(times, dtype=torch.float64, requires_grad=True)
    solution = solver.solve(EvaluationCounter(field), y0, t)
    (by_t,) = torch.autograd.grad((solution.ys * weights).square().sum(), t)
    h = 1e-5
    with torch.no_grad():
        for i in (0, 2, 3, 5):
            moved = [[v + s * h if times[i] == v else v for v in times] for s in (1, -1)]
            difference = (loss(moved[0]) - loss(moved[1])) / (2 * h)
            same = [j for j, v in enumerate(times) if v == times[i]]
            assert by_t[same].sum().item() == pytest.approx(difference.item(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
def test_a_learned_duration_in_a_list(gradient, field, y0):
    """`[0., T]` with T requiring a gradient: dL/dT = ⟨∂L/∂y, f(T, y)⟩."""
    end = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    solution = Dopri5(gradient=gradient, **TIGHT).solve(field, y0, [0.0, end])
    (by_end,) = torch.autograd.grad(solution.ys[-1].sum(), end)
    slope = field(torch.tensor(1.3, dtype=torch.float64), solution.ys[-1])
    assert by_end.item() == pytest.approx(slope.sum().item(), rel=1e-9)
    assert solution.stats.nfe_backward >= 2
    with pytest.raises(SolverOptionError, match="times require a gradient"):
        CaputoPECE(0.5, num_steps=4).solve(field, y0, [0.0, end])


OTHERS = [
    Kvaerno5(rtol=1e-8, atol=1e-8),
    Kvaerno5(rtol=1e-8, atol=1e-8, gradient="checkpoint"),
    Rodas5P(**TIGHT),
    SDIRK3(num_steps=400),
    Reversible(num_steps=300),
    ImplicitMidpoint(num_steps=2000, gradient="reversible"),
    TorchDiffEq("dopri5", **TIGHT),
    TorchDiffEq("dopri5", **TIGHT, gradient="adjoint"),
    TorchDiffEq("rk4", num_steps=100),
]


@pytest.mark.parametrize("solver", OTHERS, ids=[f"{s.describe()} {s.gradient}" for s in OTHERS])
def test_other_solvers_give_the_same_gradients_to_times(solver, field, y0):
    """Those of Dopri5, to the accuracy of each solve; one evaluation for each time and one for the start."""
    weights = torch.arange(1, 5, dtype=torch.float64).view(4, 1, 1)
    results = []
    for one in (Dopri5(**TIGHT), solver):
        t = torch.tensor([0.1, 0.1, 0.7, 1.5], dtype=torch.float64, requires_grad=True)
        counter = EvaluationCounter(field)
        solution = one.solve(counter, y0.clone().requires_grad_(), t)
        assert counter.reset() == solution.stats.nfe_forward
        results.append(torch.autograd.grad((weights * solution.ys.square()).sum(), t)[0])
        assert counter.reset() == solution.stats.nfe_backward >= 5
    torch.testing.assert_close(*results, rtol=0, atol=2e-5)


@pytest.mark.parametrize("solver", [Kvaerno5(), Reversible(num_steps=3), TorchDiffEq("rk4", num_steps=3)])
def test_an_output_at_the_start_has_the_slope_there(solver, field, y0):
    """∂/∂t₁ of y(t₁) at t₁ = t₀ is f, ∂/∂t₀ is -f."""
    t = torch.tensor([0.4, 0.4], dtype=torch.float64, requires_grad=True)
    (by_t,) = torch.autograd.grad(solver.solve(field, y0, t).ys[1].sum(), t)
    slope = field(torch.tensor(0.4, dtype=torch.float64), y0).sum().item()
    assert by_t.tolist() == pytest.approx([-slope, slope], rel=1e-12)


def test_a_leapfrog_gives_gradients_to_times():
    """The slope at a time is that of the whole field, not of the force that the method counts."""
    y0 = torch.tensor([[1.0, 0.2]], dtype=torch.float64)
    results = []
    for solver in (Dopri5(**TIGHT), Yoshida4(num_steps=400, gradient="reversible")):
        t = torch.tensor([0.0, 0.9, 2.0], dtype=torch.float64, requires_grad=True)
        results.append(torch.autograd.grad(solver.solve(Pendulum(), y0, t).ys.square().sum(), t)[0])
    torch.testing.assert_close(*results, rtol=0, atol=1e-6)


class Forced(SecondOrderField):
    """q̈ = −sin q + cos 3t / 2."""

    def force(self, t, q):
        return torch.cos(3 * t) / 2 - torch.sin(q)


class ForcedParts(SplitField):
    """The same in two parts."""

    def explicit(self, t, y):
        return torch.cat((y[:, 1:], torch.cos(3 * t) / 2 + 0 * y[:, :1]), 1)

    def implicit(self, t, y):
        return torch.cat((0 * y[:, 1:], -torch.sin(y[:, :1])), 1)


@pytest.mark.parametrize(
    ("solver", "field"),
    [
        (KenCarp4(num_steps=60), ForcedParts()),
        (Yoshida4(num_steps=200), Forced()),
        (Nystrom4(num_steps=60, gradient="reversible"), Forced()),
        (ImplicitMidpoint(step_size=0.004), Forced()),
    ],
    ids=["KenCarp4", "Yoshida4", "Nystrom4", "ImplicitMidpoint"],
)
def test_fields_in_parts_keep_them_at_own_times(solver, field):
    """States and gradients of single solves by Dopri5, one row backwards; masked outputs are zero."""
    y0 = torch.tensor([[1.0, 0.2], [-0.5, 0.8]], dtype=torch.float64)
    rows = torch.tensor([[0.0, 0.9, 2.0], [1.5, 1.1, 0.4]], dtype=torch.float64)
    mask = torch.tensor([[True, True, True], [True, False, True]])
    results = []
    for one in (Dopri5(**TIGHT), solver):
        start, t = y0.clone().requires_grad_(), rows.clone().requires_grad_()
        ys = one.solve(field, start, t, mask).ys
        assert ys[1, 1].tolist() == [0, 0]
        results.append((ys, *torch.autograd.grad(ys.square().sum(), (start, t))))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=3e-5)
