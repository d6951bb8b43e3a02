"""Neural CDE: the neural ODE inside it, its invariances, torchcde on equal weights, and causality."""

import pytest
import torch
import torchcde

from integrand.errors import UsageError
from integrand.modules.series.asked_times import with_times
from integrand.modules.series.neural_cde import NeuralCDE
from integrand.series import Series
from integrand.solvers import RK4, Midpoint, odeint
from integrand.spec import Classes, Forecast, SeriesSpec, Targets

PATHS = ("hermite", "linear", "natural_cubic", "rectilinear")
F64 = torch.float64


def build(question=None, **kwargs):
    sizes = {"channels": 3, "length": 9, "missing": True} | kwargs.pop("sizes", {})
    torch.manual_seed(0)
    spec = SeriesSpec("made-up", question or Classes(3), **sizes)
    return NeuralCDE(spec, channels=5, hidden=7, **kwargs).double()


def without_time(module):
    """The module whose field has no column for the time."""
    last = module.field.net[-2]
    with torch.no_grad():
        last.weight.view(5, -1, last.in_features)[:, 0] = 0
        last.bias.view(5, -1)[:, 0] = 0
    return module


@pytest.mark.parametrize("path", PATHS)
def test_depends_on_neither_padding_nor_company(path, series, same_alone):
    same_alone(build(interpolation=path), series(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_is_the_time_alone_gives_the_neural_ode(path):
    """After a single observation nothing but the time goes on: ż = f(z) e₀ / unit."""
    module = build(Forecast(1, 4), interpolation=path, solver=RK4(num_steps=20))
    x = Series(
        torch.tensor([[2.0]], dtype=F64),
        torch.tensor([[[0.3, -1.0, 0.8]]], dtype=F64),
        torch.ones(1, 1, 3, dtype=torch.bool),
        torch.tensor([1]),
        torch.zeros(1, 0, dtype=F64),
    )
    times = torch.tensor([[2.5, 3.0, 4.5, 9.0]], dtype=F64)
    z0 = module.initial(x, module.control(x).starts[0])
    states = odeint(
        lambda t, z: module.field(t, z)[..., 0] / module.control.observed.unit,
        z0,
        torch.cat((x.times[0], times[0])),
        method="dopri5",
        rtol=1e-10,
        atol=1e-10,
    )
    # RK4 with 20 steps in each gap: (h/20)⁴ with h ≤ 4.5/8 of a unit is 1e-7 and less
    torch.testing.assert_close(module(x, times)[0], module.head(states[1:, 0]), rtol=0, atol=1e-8)


def test_the_speed_at_which_a_path_is_run_through_does_not_matter(series):
    module = without_time(build(interpolation="linear"))
    x = series(missing=0.0)
    faster = Series(x.times**3, x.values, x.mask, x.lengths, x.static)
    torch.testing.assert_close(module(faster), module(x), rtol=1e-12, atol=1e-12)
    assert not torch.allclose(build(interpolation="linear")(faster), build(interpolation="linear")(x))


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_stands_still_leaves_the_state(path, series):
    module = without_time(build(interpolation=path, counts=False))
    x = series(missing=0.0)
    x.values = x.values[:, :1].expand_as(x.values) * x.mask
    torch.testing.assert_close(
        module.read(x)[0], module.initial(x, module.control(x).starts[0]), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize(("path", "theirs"), [("natural_cubic", "natural"), ("hermite", "hermite")])
def test_agrees_with_torchcde_on_equal_weights(path, theirs, series):
    """Equally spaced times, since torchcde's step is one number; a path that depends on all of them."""
    module = build(interpolation=path, counts=False, solver=Midpoint(num_steps=1))
    x = series((9, 9, 9), missing=0.0)
    x.times = torch.arange(9, dtype=F64).expand(3, -1)
    rows = module.control.observed.rows(x)
    t = x.times[0]
    if theirs == "natural":
        path = torchcde.CubicSpline(torchcde.natural_cubic_coeffs(rows, t), t)
    else:
        path = torchcde.CubicSpline(torchcde.hermite_cubic_coefficients_with_backward_differences(rows, t), t)
    z = torchcde.cdeint(
        path,
        module.field,
        module.initial.linear(path.evaluate(t[0])[:, 1:]),
        t[[0, -1]],
        adjoint=False,
        method="midpoint",
        options={"step_size": 1.0},
    )
    torch.testing.assert_close(module(x), module.head(z[:, -1]), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("path", "causal"), [("rectilinear", True), ("natural_cubic", False)])
def test_the_rectilinear_path_knows_nothing_of_later_observations(path, causal, series):
    module = build(Forecast(9, 4, within=True), interpolation=path)
    x = series((9, 8), missing=0.2)
    asked = x.times[:, :5] + 0.01
    changed = Series(x.times, x.values.clone(), x.mask, x.lengths, x.static)
    changed.values[:, 6:] += 1.0 * x.mask[:, 6:]
    assert torch.equal(module(x, asked), module(changed, asked)) == causal


@pytest.mark.parametrize(("path", "missing"), [("linear", 0.3), ("rectilinear", 0.3), ("natural_cubic", 0.0)])
def test_times_that_are_asked_for_do_not_change_what_is_said_of_others(path, missing, series):
    """Of RK4 with steps short enough for 1e-6. A Hermite path has its knots there, and does."""
    module = build(Forecast(9, 4), interpolation=path, counts=False, solver=RK4(num_steps=10))
    x = series(missing=missing)
    end = x.times[:, -1:] + torch.tensor([0.3, 0.9], dtype=F64)
    more = torch.cat((x.times[:, :3] + 0.05, end), dim=1)
    torch.testing.assert_close(module(x, more)[:, 3:], module(x, end), rtol=0, atol=1e-6)


def test_a_clock_that_matters_is_told(series):
    x = series(static=2)
    later = Series(x.times + 5.0, x.values, x.mask, x.lengths, x.static)
    for autonomous in (True, False):
        module = build(sizes={"autonomous": autonomous, "static": 2})
        assert torch.allclose(module(later), module(x), atol=1e-12) == autonomous


def test_gradients_reach_every_parameter(series):
    module = build(Targets(("a",)))
    outcome = module.step((series(), torch.ones(4, 1, dtype=F64)), "train")
    outcome.loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in module.parameters())
    # one step of RK4 in each of eight gaps
    assert outcome.solves[0].nfe_forward == 32
    assert module.describe_solver() == ("cde rk4 num_steps=1", "backprop")


def test_an_unknown_path_is_refused():
    with pytest.raises(UsageError, match=r"unknown interpolation 'cubic'.*set model.interpolation"):
        build(interpolation="cubic")


def test_times_asked_for_take_their_place_among_the_observations(series):
    x = series((4, 2), missing=0.0, channels=1)
    x.times = torch.tensor([[0.0, 1.0, 2.0, 3.0], [5.0, 6.0, 6.0, 6.0]], dtype=F64)
    asked = torch.tensor([[0.5, 2.0, 4.0], [6.0, 6.0, 7.0]], dtype=F64)
    merged, at = with_times(x, asked)
    assert merged.times.tolist() == [[0.0, 0.5, 1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 7.0, 7.0, 7.0]]
    assert merged.lengths.tolist() == [6, 3]
    assert at.tolist() == [[1, 3, 5], [1, 1, 2]]
    assert merged.mask[..., 0].tolist() == [
        [True, False, True, True, True, False],
        [True, True, False, False, False, False],
    ]
    assert torch.equal(merged.values[0, [0, 2, 3, 4]], x.values[0])
    assert torch.equal(merged.values[1, :2], x.values[1, :2])
