"""Controlled equations: against torchcde, closed forms, and the invariances of dz = f(t, z) dX."""

import math

import pytest
import torch
import torchcde
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from integrand.errors import SpecError
from integrand.solvers import (
    RK4,
    RK38,
    SDIRK3,
    Bosh3,
    CDESolver,
    ControlledField,
    Dopri5,
    EvaluationCounter,
    MaxNFEError,
    Midpoint,
    SolverOptionError,
    cdeint,
    hermite_control,
    linear_control,
    log_signature_control,
    natural_cubic_control,
    odeint,
    rectilinear_control,
)
from integrand.solvers.control.field import DrivenField

F64 = torch.float64


class Net(nn.Module):
    """A small field of h × c entries; time-dependent where asked."""

    def __init__(self, h=4, c=3, timed=True, dtype=F64):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.inner = nn.Linear(h, 8, dtype=dtype)
        self.outer = nn.Linear(8, h * c, dtype=dtype)
        self.c, self.timed = c, timed
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=generator, dtype=dtype) * 0.6)

    def forward(self, t, z):
        inner = self.inner(z) + torch.sin(t) if self.timed else self.inner(z)
        return torch.tanh(self.outer(torch.tanh(inner))).view(*z.shape, self.c)


@pytest.fixture
def times():
    return torch.rand(7, dtype=F64, generator=torch.Generator().manual_seed(2)).add(0.2).cumsum(0)


@pytest.fixture
def series():
    return torch.randn(5, 7, 3, dtype=F64, generator=torch.Generator().manual_seed(3)).cumsum(1) * 0.5


@pytest.fixture
def z0():
    return torch.randn(5, 4, dtype=F64, generator=torch.Generator().manual_seed(6))


SMOOTH = {
    natural_cubic_control: torchcde.natural_cubic_coeffs,
    hermite_control: torchcde.hermite_cubic_coefficients_with_backward_differences,
}


@pytest.mark.parametrize(
    ("method", "name"), [(RK38(num_steps=1), "rk4"), (Midpoint(num_steps=1), "midpoint")]
)
@pytest.mark.parametrize("make", list(SMOOTH), ids=lambda f: f.__name__)
def test_smooth_controls_step_as_torchcde(make, method, name, series, times, z0):
    """dX/dt is continuous at the knots, so that even a lookup by time finds the right slope."""
    field = Net()
    theirs = torchcde.cdeint(
        torchcde.CubicSpline(SMOOTH[make](series, times), times), field, z0, times, adjoint=False, method=name
    )
    ours = CDESolver(method).solve(field, make(series, times), z0, times)
    torch.testing.assert_close(ours.ys.transpose(0, 1), theirs, rtol=1e-11, atol=1e-11)


def test_linear_controls_converge_to_torchcdes_with_jumps(series, times, z0):
    """Against steps that end at the knots; its rk4 takes the slope of the wrong interval there."""
    field = Net()
    line = torchcde.LinearInterpolation(torchcde.linear_interpolation_coeffs(series, times), times)
    options = {"jump_t": times[1:-1]}
    theirs = torchcde.cdeint(
        line, field, z0, times, adjoint=False, method="dopri5", rtol=1e-10, atol=1e-10, options=options
    ).transpose(0, 1)
    control = linear_control(series, times)
    for solver, atol in ((Dopri5(rtol=1e-10, atol=1e-10), 1e-8), (RK4(num_steps=40), 1e-6)):
        torch.testing.assert_close(
            CDESolver(solver).solve(field, control, z0, times).ys, theirs, rtol=0, atol=atol
        )


@pytest.mark.parametrize(("solver", "order"), [(Midpoint, 2), (Bosh3, 3), (RK4, 4)])
def test_order_on_a_path_with_kinks(solver, order, series, times, z0):
    """The whole order, which a slope looked up at a knot would reduce to 1."""
    field, control = Net(), linear_control(series, times)
    exact = CDESolver(Dopri5(rtol=1e-12, atol=1e-12)).solve(field, control, z0).ys[-1]
    errors = [
        (CDESolver(solver(num_steps=n)).solve(field, control, z0).ys[-1] - exact).norm().item()
        for n in (8, 16)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


def test_steps_on_knots_are_cheap():
    """Dopri5 from knot to knot needs few evaluations of an interval on which the field is smooth."""
    x = torch.randn(5, 50, 3, dtype=F64, generator=torch.Generator().manual_seed(3)).cumsum(1) * 0.1
    solution = CDESolver(Dopri5(rtol=1e-4, atol=1e-4)).solve(
        Net(), linear_control(x), torch.zeros(5, 4, dtype=F64)
    )
    # one step of six evaluations and the first stage
    assert solution.stats.nfe_forward <= 8 * 49
    assert solution.stats.accepted >= 49


def test_the_time_as_control_is_the_neural_ode(tanh_net, state):
    """X_t = t: dz = f dX is ż = f, evaluation for evaluation."""
    t = torch.tensor([0.3, 0.5, 1.1, 1.2], dtype=F64)
    control = linear_control(t.view(1, -1, 1).expand(len(state), -1, -1), t)
    ys = cdeint(control, lambda t, z: tanh_net(t, z).unsqueeze(-1), state, t)
    torch.testing.assert_close(ys, odeint(tanh_net, state, t, method="RK4"), rtol=1e-13, atol=1e-13)


def test_a_constant_control_moves_nothing(times, z0):
    x = torch.randn(5, 1, 3, dtype=F64).expand(-1, 7, -1)
    for make in (linear_control, hermite_control, natural_cubic_control):
        ys = CDESolver().solve(Net(), make(x, times), z0, times).ys
        torch.testing.assert_close(ys, z0.expand(7, -1, -1), rtol=1e-13, atol=1e-13)


def test_another_clock_changes_nothing(series, times, z0):
    """z depends on the image of X alone where f does not depend on t: linear controls, any times."""
    field = Net(timed=False)
    a = CDESolver().solve(field, linear_control(series, times), z0).ys[-1]
    b = CDESolver().solve(field, linear_control(series, times**3 - 5), z0).ys[-1]
    torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)


def test_a_clock_in_the_channels_is_noticed(series, times, z0):
    """The same with the time as a channel, which is what a neural CDE has it for."""
    field = Net(timed=False)
    one, other = series.clone(), series.clone()
    one[..., 0], other[..., 0] = times, times**2
    a, b = (CDESolver().solve(field, linear_control(x, times), z0).ys[-1] for x in (one, other))
    assert (a - b).abs().max() > 1e-2


def test_rectilinear_is_causal(series, times, z0):
    """A change of the last observation moves only the last knot."""
    series[..., 0] = times
    field = Net(timed=False)
    changed = series.clone()
    changed[:, -1, 1:] += 5
    one, other = rectilinear_control(series, 0), rectilinear_control(changed, 0)
    a, b = (CDESolver().solve(field, x, z0, x.knots).ys for x in (one, other))
    assert torch.equal(a[:-1], b[:-1])
    assert not torch.equal(a[-1], b[-1])


@pytest.mark.parametrize("make", [linear_control, hermite_control, natural_cubic_control])
@pytest.mark.parametrize("solver", [RK4(num_steps=2), Dopri5(rtol=1e-7, atol=1e-7)])
def test_samples_with_own_times_are_as_alone(make, solver, series, z0):
    times = torch.rand(5, 7, dtype=F64, generator=torch.Generator().manual_seed(4)).add(0.2).cumsum(1)
    times[2, 4:] = times[2, 3]
    series[2, 4:] = series[2, 3]
    control, field = make(series, times), Net()
    together = CDESolver(solver).solve(field, control, z0, control.knots).ys
    assert together.shape == (7, 5, 4)
    # fixed steps are the same ones; adaptive ones are chosen for the batch
    atol = 1e-12 if solver.num_steps else 1e-5
    for b in range(5):
        n = 4 if b == 2 else 7
        alone = CDESolver(solver).solve(
            field, make(series[b : b + 1, :n], times[b, :n]), z0[b : b + 1], times[b, :n]
        )
        torch.testing.assert_close(together[:n, b], alone.ys[:, 0], rtol=0, atol=atol)
    assert torch.equal(together[3, 2], together[-1, 2])


@pytest.mark.parametrize("solver", [RK4(num_steps=30), Dopri5(rtol=1e-9, atol=1e-9)])
def test_output_times_off_the_knots(solver, series, times, z0):
    """Outputs anywhere, repeated ones too, against a solve of tolerance 1e-9 that looks the slope up by time."""
    field, control = Net(), natural_cubic_control(series, times)
    low, high = times[0].item(), times[-1].item()
    t = [low + 0.05, low + 0.05, times[3].item(), times[3].item() + 0.01, high - 0.02, high]
    ys = CDESolver(solver).solve(field, control, z0, t).ys

    def driven(time, z):
        return (field(time, z) @ control.derivative(time.view(1))[0].unsqueeze(-1)).squeeze(-1)

    theirs = odeint(driven, z0, t[1:], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ys[1:], theirs, rtol=0, atol=1e-6)
    assert torch.equal(ys[0], ys[1])


def test_a_jump_is_an_interval_of_no_length(z0):
    """Two observations at one time: dz = f(z) dX across the jump, seen by the output at that time."""
    x = torch.tensor([0.0, 1.0, 3.0, 3.5], dtype=F64).view(1, 4, 1).expand(5, -1, 4)
    t = torch.tensor([0.0, 1.0, 1.0, 2.0], dtype=F64)

    def decay(t, z):
        return torch.diag_embed(-z)

    ys = cdeint(linear_control(x, t), decay, z0, [0.0, 1.0, 1.5, 2.0], num_steps=20)
    for z, rise in zip(ys, (0.0, 3.0, 3.25, 3.5), strict=True):
        # twenty steps of 0.1 across the jump of 2, each off by 0.1⁵ / 120
        torch.testing.assert_close(z, z0 * math.exp(-rise), rtol=3e-6, atol=0)


@pytest.mark.parametrize("make", [linear_control, hermite_control])
@pytest.mark.parametrize(
    "solver",
    [
        RK4(num_steps=1, gradient="checkpoint"),
        RK4(num_steps=4, gradient="checkpoint"),
        Dopri5(gradient="checkpoint"),
    ],
    ids=["rk4", "rk4 without tables", "dopri5"],
)
def test_checkpoint_is_backprop(make, solver, series, times, z0):
    """State, weights and the observations behind the path; the account against a count."""
    field = EvaluationCounter(Net())
    x = series.requires_grad_()
    z = z0.requires_grad_()
    leaves = (x, z, *field.parameters())

    def solve(gradient):
        solver.gradient = gradient
        solution = CDESolver(solver).solve(field, make(x, times), z, [times[0], times[2], times[-1]])
        forward = field.reset()
        found = torch.autograd.grad(solution.ys.square().sum(), leaves)
        assert solution.stats.nfe_forward == forward
        assert solution.stats.nfe_backward == field.reset()
        return solution.ys, found

    ys, ours = solve("checkpoint")
    other, theirs = solve("backprop")
    torch.testing.assert_close(ys, other, rtol=1e-14, atol=1e-14)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_gradient_by_finite_differences(series, times, z0):
    field = Net()
    torch.autograd.gradcheck(
        lambda x, z: CDESolver().solve(field, hermite_control(x, times[:3]), z).ys[-1],
        (series[:2, :3].requires_grad_(), z0[:2].requires_grad_()),
    )


class Stages(TorchDispatchMode):
    """Counts kernels; views cost none."""

    def __init__(self):
        super().__init__()
        self.kernels = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not func.is_view:
            self.kernels.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("make", [linear_control, hermite_control, natural_cubic_control])
def test_a_stage_costs_the_field_and_its_product(make, series, times, z0):
    """The path adds no kernel to a stage at a tabulated place, and three elsewhere; no host read."""
    field = Net(timed=False)
    driven = DrivenField(field, make(series, times), F64)
    place = torch.tensor(0.5, dtype=F64)
    driven.tabulate([place])
    with torch.no_grad(), Stages() as matrix:
        field(place, z0)
    with torch.no_grad(), Stages() as known:
        driven(place, z0)
    with torch.no_grad(), Stages() as unknown:
        driven(place.clone(), z0)
    assert len(known.kernels) == len(matrix.kernels) + 1
    slope = 0 if make is linear_control else 2
    assert len(unknown.kernels) == len(known.kernels) + 1 + 1 + slope  # the clone of the place, the time
    assert "_local_scalar_dense" not in unknown.kernels


def test_a_field_may_bring_its_own_product(series, times, z0):
    net = Net()

    class Own(ControlledField):
        def __init__(self):
            super().__init__()
            self.net = net

        def increment(self, t, z, dx):
            return torch.einsum("bhc,bc->bh", self.net(t, z), dx)

    class Prod:
        """torchcde's convention."""

        def __call__(self, t, z):
            raise AssertionError

        def prod(self, t, z, dx):
            return torch.einsum("bhc,bc->bh", net(t, z), dx)

    control = linear_control(series, times)
    expected = CDESolver().solve(net, control, z0).ys
    torch.testing.assert_close(CDESolver().solve(Own(), control, z0).ys, expected, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(cdeint(control, Prod(), z0), expected, rtol=1e-13, atol=1e-13)


def test_cdeint_names_and_arguments(series, times, z0):
    net, control = Net(), hermite_control(series, times)
    ys, solution = cdeint(
        control,
        lambda t, z, a: a * net(t, z),
        z0,
        args=(0.5,),
        method="midpoint",
        num_steps=3,
        return_solution=True,
    )
    assert solution.stats.nfe_forward == 2 * 3 * 6
    assert solution.stats.min_step == pytest.approx(times.diff().min().item() / 3)
    assert "midpoint" in solution.stats.solver
    assert ys.shape == (2, 5, 4)


def test_float32_states_and_far_times(series, times):
    """A float64 path for a float32 state, and Unix times, of which float32 would leave nothing."""
    net = Net(dtype=torch.float32)
    z0 = torch.zeros(5, 4)
    near = cdeint(hermite_control(series, times), net, z0)
    assert near.dtype == torch.float32
    shift = 2 * math.pi * 2.7e8  # a period of the field's sin t
    with pytest.warns(UserWarning, match="so large"):
        far = cdeint(hermite_control(series, times + shift), net, z0)
    # t is kept to 4e-7 in float64 at 1.7e9
    torch.testing.assert_close(far, near, rtol=0, atol=1e-5)


def test_a_budget_holds_over_all_intervals(series, times, z0):
    with pytest.raises(MaxNFEError, match="max_nfe=20"):
        CDESolver(Dopri5(max_nfe=20)).solve(Net(), linear_control(series, times), z0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda c, z: CDESolver(SDIRK3()), SolverOptionError, "explicit"),
        (lambda c, z: CDESolver(Dopri5(per_sample=True)), SolverOptionError, "lockstep"),
        (lambda c, z: CDESolver(Dopri5(compile=True)), SolverOptionError, "compile"),
        (
            lambda c, z: cdeint(c, Net(), z, method="implicit_adams", num_steps=1),
            SolverOptionError,
            "explicit",
        ),
        (lambda c, z: cdeint(z, Net(), z), SpecError, "the control is Tensor"),
        (lambda c, z: cdeint(c, Net(), z[:3]), SpecError, "control of 5 samples"),
        (lambda c, z: cdeint(c, Net(), z[0]), SpecError, "control of 5 samples"),
        (lambda c, z: cdeint(c, Net(c=2), z), SpecError, r"return a matrix of shape \(5, 4, 3\)"),
        (lambda c, z: cdeint(c, Net(), z, [0.0, 1.0]), SpecError, "within the knots"),
        (lambda c, z: cdeint(c, Net(), z, c.knots.flip(0)), SpecError, "forwards"),
        (lambda c, z: cdeint(c, Net(), z, []), SpecError, "forwards|do not increase"),
    ],
)
def test_refusals_say_what_is_wrong(call, error, words, series, times, z0):
    with pytest.raises(error, match=words):
        call(linear_control(series, times), z0)


def test_step_size_is_in_units_of_time(series, z0):
    """Counted on the longest interval of all samples, so that none is longer than asked for."""
    times = torch.tensor([[0.0, 1.0, 1.5], [0.0, 0.2, 3.0]], dtype=F64)
    solver = CDESolver(RK4(step_size=0.5))
    solution = solver.solve(Net(), linear_control(series[:2, :3], times), z0[:2])
    assert solution.stats.accepted == 2 + 6
    alone = solver.solve(Net(), linear_control(series[:1, :3], times[0]), z0[:1])
    assert alone.stats.accepted == 2 + 1
    assert alone.stats.max_step == 0.5


def test_refusals_of_own_times(series, times, z0):
    control = linear_control(series, times.expand(5, -1))
    with pytest.raises(SpecError, match=r"control\.knots"):
        cdeint(control, Net(), z0, times)


def test_log_signature_windows_with_own_times(series, z0):
    """A window is an interval like any other."""
    times = torch.rand(5, 7, dtype=F64, generator=torch.Generator().manual_seed(4)).cumsum(1)
    control = log_signature_control(series, 4, 2, times)
    ys = cdeint(control, Net(c=6), z0, control.knots)
    assert ys.shape == (3, 5, 4)
