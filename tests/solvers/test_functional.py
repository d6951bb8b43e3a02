"""`odeint` and `sdeint`: any callable, any structure of states, the names of other libraries."""

import functools
import math
from collections import namedtuple

import pytest
import torch
import torchdiffeq
import torchsde
from torch import nn

from integrand.errors import SpecError
from integrand.solvers import (
    SRK,
    Dopri5,
    EulerMaruyama,
    Event,
    SolverOptionError,
    TorchDiffEq,
    odeint,
    sdeint,
)

F64 = torch.float64
SHARED = nn.Linear(3, 3, dtype=F64)


def pendulum(t, y):
    q, p = y
    return p, -torch.sin(q) + 0.3 * torch.cos(2 * t)


FIXED = ["euler", "midpoint", "rk4", "heun2", "heun3", "explicit_adams", "implicit_adams"]


@pytest.mark.filterwarnings("ignore:.*functional iteration did not converge", "ignore:Functional iteration")
@pytest.mark.parametrize("method", FIXED)
@pytest.mark.parametrize("options", [{}, {"step_size": 0.05}])
def test_fixed_methods_are_torchdiffeqs_to_rounding(method, options):
    """Names, grids and the order of a tuple: rk4 is the 3/8 rule there, and no step means the output times."""
    y0 = (torch.tensor(0.5, dtype=F64), torch.tensor(-1.2, dtype=F64))
    t = torch.tensor([0.0, 0.3, 0.45, 1.0], dtype=F64)
    ours = odeint(pendulum, y0, t, method=method, options=options)
    theirs = torchdiffeq.odeint(pendulum, y0, t, method=method, options=options, rtol=1e-5, atol=1e-5)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape == (4,)
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", ["dopri5", "dopri8", "bosh3", "tsit5", "adaptive_heun", "fehlberg2"])
def test_adaptive_methods_by_torchdiffeqs_names(method):
    y0 = (torch.tensor([0.5], dtype=F64), torch.tensor([-1.2], dtype=F64))
    ours, solution = odeint(
        pendulum, y0, [0.0, 1.0, 4.0], method=method, rtol=1e-6, atol=1e-6, return_solution=True
    )
    assert method.replace("adaptive_", "") in solution.stats.solver
    exact = torchdiffeq.odeint(pendulum, y0, torch.tensor([0.0, 1.0, 4.0], dtype=F64), rtol=1e-11, atol=1e-11)
    for a, b in zip(ours, exact, strict=True):
        # hundreds of steps of an order-2 pair add up to some six hundred tolerances
        torch.testing.assert_close(a, b, rtol=0, atol=1e-3)


Phase = namedtuple("Phase", "q p")


@pytest.mark.parametrize(
    ("y0", "field", "exact"),
    [
        # rotation in every structure: q = cos t, p = -sin t
        ((1.0, 0.0), lambda t, y: (y[1], -y[0]), lambda t: (math.cos(t), -math.sin(t))),
        ([1.0, 0.0], lambda t, y: [y[1], -y[0]], lambda t: [math.cos(t), -math.sin(t)]),
        (
            {"q": 1.0, "p": 0.0},
            lambda t, y: {"p": -y["q"], "q": y["p"]},
            lambda t: {"q": math.cos(t), "p": -math.sin(t)},
        ),
        (
            Phase(1.0, 0.0),
            lambda t, y: Phase(y.p, -y.q),
            lambda t: Phase(math.cos(t), -math.sin(t)),
        ),
        (
            {"z": (1.0, {"deep": 0.0})},
            lambda t, y: {"z": (y["z"][1]["deep"], {"deep": -y["z"][0]})},
            lambda t: {"z": (math.cos(t), {"deep": -math.sin(t)})},
        ),
        (1.0, lambda t, y: y * torch.cos(t), lambda t: math.exp(math.sin(t))),
        (1.0 + 0j, lambda t, y: 1j * y, lambda t: complex(math.cos(t), math.sin(t))),
    ],
    ids=["tuple", "list", "dict with another order", "named tuple", "nested", "0-d", "complex"],
)
def test_states_of_any_structure(y0, field, exact):
    def tensors(state):
        if isinstance(state, dict):
            return {k: tensors(v) for k, v in state.items()}
        if isinstance(state, Phase):
            return Phase(*map(tensors, state))
        if isinstance(state, tuple | list):
            return type(state)(map(tensors, state))
        return torch.tensor(state, dtype=torch.complex128 if isinstance(state, complex) else F64)

    ys = odeint(field, tensors(y0), [0.0, 2.0], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(_last(ys), tensors(exact(2.0)), rtol=1e-8, atol=1e-8)


def _last(state):
    if isinstance(state, dict):
        return {k: _last(v) for k, v in state.items()}
    if isinstance(state, Phase):
        return Phase(*map(_last, state))
    if isinstance(state, tuple | list):
        return type(state)(map(_last, state))
    return state[-1]


def test_a_plain_module_is_solved_as_by_the_solver(tanh_net, state):
    ys, solution = odeint(tanh_net, state, [0.0, 1.0], method="Dopri5", return_solution=True)
    direct = Dopri5().solve(tanh_net, state, [0.0, 1.0])
    assert torch.equal(ys, direct.ys)
    assert solution.stats.nfe_forward == direct.stats.nfe_forward
    assert torch.equal(odeint(tanh_net, state, [0.0, 1.0], solver=Dopri5()), direct.ys)


def test_parts_keep_dtype_and_batch():
    """A half next to a double comes back as a half, and per-sample steps see one batch."""
    y0 = {"a": torch.ones(4, 2, 3), "b": torch.arange(4, dtype=F64)}
    ys, solution = odeint(
        lambda t, y: {"a": -y["a"], "b": -3 * y["b"]}, y0, [0.0, 1.0], per_sample=True, return_solution=True
    )
    assert ys["a"].shape == (2, 4, 2, 3)
    assert ys["a"].dtype == torch.float32
    assert ys["b"].dtype == F64
    assert solution.stats.nfe_per_sample.shape == (4,)
    torch.testing.assert_close(ys["b"][-1], y0["b"] * math.exp(-3), rtol=1e-4, atol=1e-5)


class Owner:
    """A plain object with weights, as code ported from SciPy has it."""

    def __init__(self, net, bias):
        self.net, self.bias = net, bias

    def field(self, t, y):
        return torch.tanh(self.net(y)) + self.bias

    __call__ = field


def shared_field(t, y, bias=None):
    return torch.tanh(SHARED(y)) + bias


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
@pytest.mark.parametrize("way", ["closure", "partial", "method", "object", "arguments", "global", "list"])
def test_gradients_reach_what_a_callable_uses(way, gradient):
    net, bias = SHARED, torch.full((3,), 0.2, dtype=F64, requires_grad=True)
    functions = [net]
    ways = {
        "closure": (lambda t, y: torch.tanh(net(y)) + bias, ()),
        "partial": (functools.partial(shared_field, bias=bias), ()),
        "method": (Owner(net, bias).field, ()),
        "object": (Owner(net, bias), ()),
        "arguments": (lambda t, y, n, b: torch.tanh(n(y)) + b, (net, bias)),
        "global": (lambda t, y: shared_field(t, y, bias), ()),
        "list": (lambda t, y: torch.tanh(functions[0](y)) + bias, ()),
    }
    func, args = ways[way]
    y0 = torch.linspace(-1, 1, 6, dtype=F64).view(2, 3).requires_grad_()
    ys = odeint(func, y0, [0.0, 1.0], args=args, method="RK4", num_steps=5, gradient=gradient)
    ours = torch.autograd.grad(ys[-1].square().sum(), (y0, net.weight, bias))

    y, h = y0, 0.2  # the same steps by hand
    for _ in range(5):
        k1 = torch.tanh(net(y)) + bias
        k2 = torch.tanh(net(y + h / 2 * k1)) + bias
        k3 = torch.tanh(net(y + h / 2 * k2)) + bias
        k4 = torch.tanh(net(y + h * k3)) + bias
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    theirs = torch.autograd.grad(y.square().sum(), (y0, net.weight, bias))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_only_what_a_callable_reads_is_looked_at():
    """A global that shares its name with an attribute is not read: its dropout is none of the field's."""

    class Holder:
        UNRELATED = 2.0

    ys = odeint(lambda t, y: -Holder.UNRELATED * y, torch.ones(2, 3), [0.0, 1.0], gradient="checkpoint")
    assert ys.dtype == torch.float32


UNRELATED = nn.Sequential(nn.Linear(3, 3, dtype=F64), nn.Dropout(0.5))


def test_a_function_inside_a_function_is_looked_at():
    def outer(t, y):
        def inner(y):
            return torch.tanh(SHARED(y))

        return inner(y)

    y0 = torch.ones(2, 3, dtype=torch.float32)
    # the weights' float64 is seen before the first evaluation
    assert odeint(outer, y0, [0.0, 1.0], num_steps=2, method="RK4").dtype == torch.float32


def test_float32_weights_meet_a_bfloat16_state_of_a_closure():
    net = nn.Linear(3, 3)
    ys = odeint(lambda t, y: net(y), torch.ones(2, 3, dtype=torch.bfloat16), [0.0, 1.0])
    assert ys.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda y: odeint(lambda t, y: y, y, [0.0, 1.0], method="dopri55"),
            SolverOptionError,
            "did you mean dopri5",
        ),
        (lambda y: odeint(lambda t, y: y, y, [0.0, 1.0], rtoll=1), SolverOptionError, "did you mean rtol"),
        (lambda y: odeint(lambda t, y: y, y, [0.0, 1.0], solver=Dopri5(), rtol=1), SolverOptionError, "rtol"),
        (
            lambda y: odeint(lambda t, y: y, y, [0.0, 1.0], solver=Dopri5(), method="rk4"),
            SolverOptionError,
            "method",
        ),
        (
            lambda y: odeint(lambda t, y: y, y, [0.0, 1.0], options={"ifactor": 3.0}),
            SolverOptionError,
            "TorchDiffEq",
        ),
        (lambda y: odeint(3, y, [0.0, 1.0]), SpecError, "cannot be called"),
        (lambda y: odeint(lambda t, y: y, (y, 3.0), [0.0, 1.0]), SpecError, r"y0\[1\] is float"),
        (lambda y: odeint(lambda t, y: y, (), [0.0, 1.0]), SpecError, "no tensor"),
        (lambda y: odeint(lambda t, y: y, (y.long(), y), [0.0, 1.0]), SpecError, "int64"),
        (lambda y: odeint(lambda t, y: y[0], (y, y), [0.0, 1.0]), SpecError, "is Tensor where"),
        (lambda y: odeint(lambda t, y: (y[0],), (y, y), [0.0, 1.0]), SpecError, "tuple of 1"),
        (lambda y: odeint(lambda t, y: {"b": y["a"]}, {"a": y}, [0.0, 1.0]), SpecError, "a dict of b"),
        (lambda y: odeint(lambda t, y: (y[0].sum(), y[1]), (y, y), [0.0, 1.0]), SpecError, r"shape \(\)"),
        (lambda y: sdeint((lambda t, y: y,), y, [0.0, 1.0]), SpecError, "pair"),
        (lambda y: sdeint((lambda t, y: y,) * 2, y, [0.0, 1.0], method="eulr"), SolverOptionError, "euler"),
        (
            lambda y: sdeint((lambda t, y: y,) * 2, y, [0.0, 1.0], dt=0.1, num_steps=3),
            SolverOptionError,
            "both",
        ),
        (
            lambda y: sdeint((lambda t, y: y,) * 2, (y, y), [0.0, 1.0], noise_type="general"),
            SpecError,
            "couples",
        ),
        (
            lambda y: sdeint((lambda t, y: y,) * 2, y, [0.0, 1.0], dt=0.1, solver=SRK(num_steps=3)),
            SolverOptionError,
            "dt would be ignored",
        ),
    ],
)
def test_refusals_say_what_is_wrong(call, error, words):
    with pytest.raises(error, match=words):
        call(torch.ones(2, 3))


class Geometric(nn.Module):
    noise_type, sde_type = "diagonal", "ito"

    def f(self, t, y):
        return 0.3 * y

    def g(self, t, y):
        return 0.5 * y


def test_sdeint_is_the_solver_of_that_name():
    y0 = torch.ones(4, 2, dtype=F64)
    t = [0.0, 0.5, 1.0]
    sde = Geometric()
    default = sdeint(sde, y0, t, dt=0.125, seed=7)
    assert torch.equal(default, SRK(step_size=0.125).solve(sde, y0, t, seed=7).ys)
    euler = sdeint((sde.f, sde.g), y0, t, method="euler", num_steps=8, seed=7, first_sample=3)
    assert torch.equal(euler, EulerMaruyama(num_steps=8).solve(sde, y0, t, seed=7, first_sample=3).ys)


def test_sdeint_on_a_dict_of_states_with_gradients():
    """Parts and arguments as if they were columns of one state."""
    rate = torch.tensor(0.3, dtype=F64, requires_grad=True)

    def drift(t, y, a):
        return {"a": a * y["a"], "b": a * y["b"]}

    def diffusion(t, y, a):
        return {"a": 0.5 * y["a"], "b": 0.5 * y["b"]}

    y0 = {"a": torch.ones(4, 1, dtype=F64), "b": torch.ones(4, dtype=F64)}
    ys, solution = sdeint(
        (drift, diffusion),
        y0,
        [0.0, 1.0],
        args=(rate,),
        dt=0.1,
        seed=7,
        gradient="checkpoint",
        return_solution=True,
    )
    whole = sdeint(
        (lambda t, y: rate * y, Geometric().g), torch.ones(4, 2, dtype=F64), [0.0, 1.0], dt=0.1, seed=7
    )
    torch.testing.assert_close(torch.cat((ys["a"], ys["b"].unsqueeze(-1)), -1), whole, rtol=1e-14, atol=0)
    assert solution.ys.shape == (2, 4, 2)
    (ours,) = torch.autograd.grad(ys["a"].sum() + ys["b"].sum(), rate)
    (theirs,) = torch.autograd.grad(whole.sum(), rate)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)


@pytest.mark.parametrize("method", ["midpoint", "euler_heun", "reversible_heun", "log_ode", "heun"])
def test_torchsdes_stratonovich_names(method):
    """dt = 1/8 takes eight steps, whoever runs them; the drift alone is integrated to the method's order."""
    none = (lambda t, y: -y, lambda t, y: torch.zeros_like(y))
    ys, solution = sdeint(
        none,
        torch.ones(4, 2),
        [0.0, 1.0],
        method=method,
        dt=0.125,
        sde_type="stratonovich",
        return_solution=True,
    )
    name, steps = solution.stats.solver.split()[-2:]
    assert steps in {"num_steps=8", "step_size=0.125"}
    assert method.replace("_", "") in name.replace("_", "")
    # Euler's drift in euler_heun leaves (7/8)^8, 0.024 off
    torch.testing.assert_close(ys[-1], torch.full((4, 2), math.exp(-1)), rtol=0, atol=0.03)


def test_own_times_and_their_mask():
    y0 = torch.tensor([[0.5, 1.0], [1.5, -0.2]], dtype=F64)
    t = torch.tensor([[0.0, 0.5, 1.0], [0.2, 0.9, 7.0]], dtype=F64)
    mask = torch.tensor([[True, True, True], [True, True, False]])

    def f(t, y):
        return -y * torch.cos(t)

    ys = odeint(f, y0, t, mask=mask, rtol=1e-9, atol=1e-9)
    exact = y0 * torch.exp(torch.sin(t[:, :1]) - torch.sin(t)).t()[..., None]
    torch.testing.assert_close(ys, torch.where(mask.t()[..., None], exact, 0.0), rtol=0, atol=1e-8)
    with pytest.raises(SolverOptionError, match="own"):
        odeint(f, y0, t, mask=mask, method="implicit_adams", num_steps=4)
    with pytest.raises(SolverOptionError, match="own"):
        odeint(f, y0, [0.0, 1.0], mask=mask)


def test_events():
    """ẏ = 1 from 0 and 0.25 meets y = 0.75 at 0.75 and 0.5."""
    y0 = torch.tensor([[0.0], [0.25]], dtype=F64)
    events = [Event(lambda t, y: y[:, 0] - 0.75, terminal=True)]
    ys, found = odeint(lambda t, y: torch.ones_like(y), y0, [0.0, 1.0], events=events)
    torch.testing.assert_close(found.end, torch.tensor([0.75, 0.5], dtype=F64), rtol=0, atol=1e-9)
    torch.testing.assert_close(ys[-1], torch.full((2, 1), 0.75, dtype=F64), rtol=0, atol=1e-9)
    for bad, error in (
        ({"solver": TorchDiffEq()}, SolverOptionError),
        ({"mask": y0 > 0}, SolverOptionError),
    ):
        with pytest.raises(error):
            odeint(lambda t, y: y, y0, [0.0, 1.0], events=events, **bad)
    with pytest.raises(SpecError, match="one tensor"):
        odeint(pendulum, (y0, y0), [0.0, 1.0], events=events)


@pytest.mark.parametrize("method", ["euler", "milstein", "srk"])
def test_a_path_of_torchsdes(method):
    """The same path gives torchsde's own numbers: exactly where the scheme is the same, else of its order."""
    y0 = torch.tensor([[1.0, 0.5]], dtype=F64)
    bm = torchsde.BrownianInterval(
        0.0, 1.0, size=(1, 2), dtype=F64, entropy=3, dt=1 / 64, levy_area_approximation="space-time"
    )

    class Both(nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t, y):
            return torch.sin(y)

        def g(self, t, y):
            return 0.3 * torch.cos(y)

    ts = torch.tensor([0.0, 1.0], dtype=F64)
    ours = sdeint(Both(), y0, ts, dt=1 / 64, method=method, bm=bm)
    theirs = torchsde.sdeint(Both(), y0, ts, dt=1 / 64, method=method, bm=bm)
    torch.testing.assert_close(ours[-1], theirs[-1], rtol=0, atol=1e-3 if method == "milstein" else 1e-10)


def test_paths_that_do_not_serve():
    plain = torchsde.BrownianInterval(0.0, 1.0, size=(1, 1), dtype=F64, dt=1 / 4)
    pair, y0 = (lambda t, y: -y, lambda t, y: 0.1 * y), torch.ones(1, 1, dtype=F64)
    with pytest.raises(SolverOptionError, match="space-time"):
        sdeint(pair, y0, [0.0, 1.0], dt=1 / 4, method="srk", bm=plain)
    with pytest.raises(SolverOptionError, match="two paths"):
        sdeint(pair, y0, [0.0, 1.0], dt=1 / 4, bm=plain, brownian=plain)
