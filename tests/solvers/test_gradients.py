"""Gradients by recomputation: backprop's for every tensor that was used, or a refusal that says why not."""

import functools
import gc
import random
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from integrand.solvers import (
    RK4,
    SDIRK3,
    Dopri5,
    Dopri8,
    EulerMaruyama,
    EvaluationCounter,
    ImplicitMidpoint,
    Kvaerno5,
    Reversible,
    SolverError,
    SolverOptionError,
    StratonovichHeun,
    TorchDiffEq,
    TorchSDE,
    Tsit5,
)

TIMES = [0.0, 1.0, 2.0, 3.0, 4.0]
GLOBAL = [torch.full((1,), 0.1 * (i + 1), dtype=torch.float64, requires_grad=True) for i in range(4)]


class Field(nn.Module):
    """A field, and the drift of an equation with constant noise, given as a function."""

    noise_type, sde_type = "diagonal", "ito"

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, t, y):
        return self.function(t, y)

    f = forward

    def g(self, t, y):
        return 0.1 * torch.ones_like(y)


class Stratonovich(Field):
    sde_type = "stratonovich"


def controls():
    return [torch.full((1,), 0.1 * (i + 1), dtype=torch.float64, requires_grad=True) for i in range(4)]


def now(t):
    return min(int(t.max()), 3)


def closure():
    u = controls()
    return (lambda t, y: -y + u[now(t)]), u


def global_list():
    return (lambda t, y: -y + GLOBAL[now(t)]), GLOBAL


def intermediate():
    """Controls computed from a leaf outside the field, as by an encoder."""
    code = torch.linspace(0.1, 0.4, 4, dtype=torch.float64, requires_grad=True)
    u = list(code.square().unbind())
    return (lambda t, y: -y + u[now(t)]), [code]


def bound():
    u = controls()

    class Holder:
        table = tuple(u)

        def field(self, scale, t, y):
            return -scale * y + self.table[now(t)]

    return functools.partial(Holder().field, 1.0), u


def plain_list_of_modules():
    torch.manual_seed(0)
    layers = [nn.Linear(1, 1).double() for _ in range(4)]

    class Stacked:
        def __init__(self):
            self.layers = layers

        def __call__(self, t, y):
            return -self.layers[now(t)](y)

    return Stacked(), [x for layer in layers for x in (layer.weight, layer.bias)]


WAYS = [closure, global_list, intermediate, bound, plain_list_of_modules]
RECOMPUTING = {
    "rk4": (RK4(num_steps=80, gradient="checkpoint"), RK4(num_steps=80), 1e-10),
    "dopri5": (Dopri5(gradient="checkpoint"), Dopri5(), 1e-10),
    "per sample": (Tsit5(per_sample=True, gradient="checkpoint"), Tsit5(per_sample=True), 1e-10),
    # Newton stops at a hundredth of the tolerance, 1e-8 with fixed steps
    "sdirk3": (SDIRK3(num_steps=40, gradient="checkpoint"), SDIRK3(num_steps=40), 1e-7),
    "euler-maruyama": (
        EulerMaruyama(num_steps=40, gradient="checkpoint"),
        EulerMaruyama(num_steps=40),
        1e-10,
    ),
    # these differentiate another discrete solve than the reference, and jumps of the field make every method
    # first-order: 3 % of steps of 0.05 and 0.01; a gradient that is lost is off by 100 %
    "reversible": (Reversible(num_steps=80), RK4(num_steps=80), 0.03),
    "alf": (Reversible("alf", num_steps=400), RK4(num_steps=80), 0.03),
    "adjoint": (TorchDiffEq("rk4", num_steps=80, gradient="adjoint"), RK4(num_steps=80), 0.03),
    "torchsde adjoint": (
        TorchSDE("heun", num_steps=400, gradient="adjoint"),
        TorchSDE("heun", num_steps=400),
        0.03,
    ),
}


def solve(solver, function, y0=None):
    y0 = torch.ones(1, 1, dtype=torch.float64) if y0 is None else y0
    stochastic = isinstance(solver, EulerMaruyama | TorchSDE)
    kind = Stratonovich if isinstance(solver, TorchSDE) else Field
    return solver.solve(kind(function), y0, TIMES, **({"seed": 0} if stochastic else {})).ys


@pytest.mark.parametrize("mode", RECOMPUTING)
@pytest.mark.parametrize("way", WAYS)
def test_tensors_used_at_some_times_only_get_their_gradient(way, mode):
    """One evaluation at t0 shows one control of four."""
    solver, reference, tolerance = RECOMPUTING[mode]
    function, tensors = way()
    got = torch.autograd.grad(solve(solver, function)[-1].sum(), tensors)
    function, tensors = way()
    wanted = torch.autograd.grad(solve(reference, function)[-1].sum(), tensors)
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mode", RECOMPUTING)
def test_tensors_that_no_search_finds_are_refused(mode):
    """Behind a weak reference, from t = 2 on: found by the recomputation, which must not keep silent."""
    late = torch.full((1,), 0.3, dtype=torch.float64, requires_grad=True)
    reference, known = weakref.ref(late), torch.ones(1, dtype=torch.float64, requires_grad=True)

    def function(t, y):
        return -known * y + (reference() if t.max() > 2 else 0.0)

    ys = solve(RECOMPUTING[mode][0], function)
    with pytest.raises(SolverError, match=r"tensor of shape \(1,\).*store it on the field"):
        ys[-1].sum().backward()


@pytest.mark.parametrize("mode", ["rk4", "euler-maruyama"])
def test_intermediate_tensors_that_no_search_finds_are_refused(mode):
    """Their leaf is known, so that only torch's second walk through the caller's graph tells."""
    leaf = torch.full((1,), 0.3, dtype=torch.float64, requires_grad=True)
    late = leaf.exp()
    reference = weakref.ref(late)

    def function(t, y):
        return -leaf * y + (reference() if t.max() > 2 else 0.0)

    ys = solve(RECOMPUTING[mode][0], function)
    with pytest.raises(SolverError, match="computed outside"):
        ys[-1].sum().backward()


@pytest.mark.parametrize("mode", RECOMPUTING)
def test_what_a_field_makes_for_itself_is_no_input(mode):
    """A Hamiltonian field differentiates by a leaf of its own in every evaluation."""
    stiffness = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def function(t, y):
        with torch.enable_grad():
            own = y.detach().requires_grad_()
            (slope,) = torch.autograd.grad((stiffness * own.square() / 2).sum(), own, create_graph=True)
        return -slope - 0.1 * y

    solver, reference, tolerance = RECOMPUTING[mode]
    got = torch.autograd.grad(solve(solver, function)[-1].sum(), stiffness)
    wanted = torch.autograd.grad(solve(reference, function)[-1].sum(), stiffness)
    torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)


class Noisy(nn.Module):
    """A field that draws random numbers."""

    noise_type, sde_type = "diagonal", "ito"

    def __init__(self, kind):
        super().__init__()
        self.inner, self.kind = nn.Linear(3, 3).double(), kind
        if kind == "module":
            self.drop = nn.Dropout(0.5)

    def forward(self, t, y):
        z = torch.tanh(self.inner(y))
        return {
            "module": lambda: self.drop(z),
            "dropout": lambda: F.dropout(z, 0.5),
            "alpha_dropout": lambda: F.alpha_dropout(z, 0.5, training=True),
            "rrelu": lambda: F.rrelu(z, training=True),
            "noise": lambda: z * (1 + 0.5 * torch.randn_like(z)),
            "late": lambda: z * (torch.rand_like(z) if t.max() > 0.5 else 1.0),
            "python": lambda: z * (1 + random.random()),
            "last step": lambda: z * (random.random() if t.max() > 0.85 else 1.0),
        }[self.kind]()

    f = forward

    def g(self, t, y):
        return 0.1 * torch.ones_like(y)


def gradients(solver, kind, state):
    torch.manual_seed(0)
    random.seed(0)
    field, y0 = Noisy(kind), state.clone().requires_grad_()
    seed = {"seed": 0} if isinstance(solver, EulerMaruyama) else {}
    torch.manual_seed(1)
    ys = solver.solve(field, y0, [0.0, 0.4, 1.0], **seed).ys
    before = torch.get_rng_state()
    found = torch.autograd.grad(ys.square().sum(), (y0, *field.parameters()))
    assert torch.equal(torch.get_rng_state(), before)
    return ys, found


@pytest.mark.parametrize("kind", ["module", "dropout", "alpha_dropout", "rrelu", "noise", "late"])
@pytest.mark.parametrize("method", [RK4, EulerMaruyama])
def test_fixed_steps_draw_their_random_numbers_again(method, kind, state):
    """The forward pass and the gradient are those of backprop with the same seed."""
    ys, found = gradients(method(num_steps=10, gradient="checkpoint"), kind, state)
    wanted_ys, wanted = gradients(method(num_steps=10), kind, state)
    assert torch.equal(ys, wanted_ys)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ["dropout", "noise", "late"])
@pytest.mark.parametrize(
    "solver",
    [
        Dopri5(gradient="checkpoint", rtol=1e-1, atol=1e-1),
        Tsit5(gradient="checkpoint", per_sample=True, rtol=1e-1, atol=1e-1),
        Reversible(num_steps=10),
        TorchDiffEq("rk4", num_steps=5, gradient="adjoint"),
    ],
    ids=lambda solver: solver.describe(),
)
def test_random_fields_are_refused_where_their_numbers_cannot_be_drawn_again(solver, kind, state):
    with pytest.raises(SolverOptionError, match="draws random numbers"):
        gradients(solver, kind, state)
    with pytest.raises(SolverOptionError, match="dropout 'drop'"):
        gradients(solver, "module", state)


@pytest.mark.parametrize("kind", ["python", "last step"])
@pytest.mark.parametrize("method", [RK4, EulerMaruyama])
def test_other_random_numbers_are_noticed_by_the_ends_of_the_steps(method, kind, state):
    """Python's generator is not replayed; the last step has no successor whose state could tell."""
    with pytest.raises(SolverError, match=r"from t=.*ended elsewhere"):
        gradients(method(num_steps=10, gradient="checkpoint"), kind, state)


@pytest.mark.parametrize("mode", ["rk4", "dopri5", "reversible", "adjoint", "euler-maruyama"])
def test_torch_func_is_refused_with_a_remedy(mode, state):
    solver = RECOMPUTING[mode][0]

    def end(y0):
        return solve(solver, lambda t, y: -y, y0)[-1]

    with pytest.raises(SolverOptionError, match=r"torch\.func.*backprop"):
        torch.func.jacrev(end)(state)


@pytest.mark.parametrize("solver", [RK4(num_steps=8), Dopri5()], ids=lambda s: s.describe())
def test_torch_func_goes_through_backprop(solver, state, tanh_net):
    def end(y0):
        return solver.solve(tanh_net, y0, [0.0, 1.0]).ys[-1]

    got = torch.func.jacrev(end)(state)
    torch.testing.assert_close(got, torch.autograd.functional.jacobian(end, state))


VMAPPED = [
    RK4(num_steps=4),
    RK4(num_steps=4, gradient="checkpoint"),
    Dopri5(),
    Dopri5(per_sample=True),
    Reversible(num_steps=4),
    ImplicitMidpoint(num_steps=4),
    Kvaerno5(),
    TorchDiffEq("rk4", num_steps=4),
    TorchDiffEq("dopri5"),
]


@pytest.mark.parametrize("solver", VMAPPED, ids=lambda s: f"{s.describe()} {s.gradient}")
def test_vmap_is_refused_with_a_remedy(solver, state, tanh_net):
    """Over states, and over weights with one state; also without gradients."""
    weights = {k: torch.stack((p, p)).detach() for k, p in tanh_net.named_parameters()}

    def by_state(y0):
        return solver.solve(tanh_net, y0, [0.0, 1.0]).ys

    def by_weights(w):
        def field(t, y):
            return torch.func.functional_call(tanh_net, w, (t, y))

        return solver.solve(Field(field), state, [0.0, 1.0]).ys

    for run, over in ((by_state, torch.stack((state, state))), (by_weights, weights)):
        for mode in (torch.enable_grad, torch.no_grad):
            with mode(), pytest.raises(SolverOptionError, match=r"torch\.func"):
                torch.func.vmap(run)(over)


@pytest.mark.parametrize("solver", [ImplicitMidpoint(num_steps=4), TorchDiffEq("dopri5")])
def test_solvers_that_differentiate_themselves_refuse_torch_func(solver, state, tanh_net):
    with pytest.raises(SolverOptionError, match=r"torch\.func.*torch\.autograd"):
        torch.func.jacrev(lambda y: solver.solve(tanh_net, y, [0.0, 1.0]).ys)(state)


def test_forward_mode_goes_through_backprop(state, tanh_net):
    def end(y0):
        return RK4(num_steps=8).solve(tanh_net, y0, [0.0, 1.0]).ys[-1]

    got = torch.func.jacfwd(end)(state)
    torch.testing.assert_close(got, torch.autograd.functional.jacobian(end, state))


MADE = {
    "scaled": lambda w: 3 * w,
    "squared": lambda w: w * w,
    "part": lambda w: w.unbind()[0],
    "chain": lambda w: (w + 1).exp(),
}
RECOMPUTED = [
    RK4(num_steps=8, gradient="checkpoint"),
    Dopri5(rtol=1e-10, atol=1e-10, gradient="checkpoint"),
    Kvaerno5(rtol=1e-9, atol=1e-9, gradient="checkpoint"),
    Reversible(num_steps=100),
    TorchDiffEq("rk4", num_steps=40, gradient="adjoint"),
]


class Twice(nn.Module):
    """A field that holds a tensor and others that were made from it."""

    noise_type, sde_type = "diagonal", "stratonovich"

    def __init__(self, w, made):
        super().__init__()
        self.w, self.made, self.further = w, made, 0.5 * made

    def forward(self, t, y):
        return torch.tanh(self.w * y) + self.made * torch.sin(t) - self.further * y

    def f(self, t, y):
        return self(t, y)

    def g(self, t, y):
        return 0.1 * torch.sin(self.made * y)


@pytest.mark.parametrize("make", MADE)
@pytest.mark.parametrize("solver", RECOMPUTED, ids=lambda s: f"{s.describe()} {s.gradient}")
def test_an_input_made_from_another_is_counted_once(solver, make):
    """The caller's graph leads from the one to the other; a recomputation that follows it counts it again."""
    w = torch.tensor([0.5, -0.3], dtype=torch.float64, requires_grad=True)
    y0 = torch.ones(2, 2, dtype=torch.float64)
    results = []
    for one in (Dopri8(rtol=1e-12, atol=1e-12), solver):
        end = one.solve(Twice(w, MADE[make](w)), y0, [0.0, 1.0]).ys[-1]
        results.append(torch.autograd.grad(end.square().sum(), w)[0])
    # the accuracy of eight steps of RK4; counted twice it is off by a third
    torch.testing.assert_close(*results, rtol=1e-4, atol=0)


@pytest.mark.parametrize("gradient", ["checkpoint", "adjoint"])
def test_an_input_of_an_sde_made_from_another_is_counted_once(gradient):
    w = torch.tensor([0.5, -0.3], dtype=torch.float64, requires_grad=True)
    y0 = torch.ones(2, 2, dtype=torch.float64)
    results = []
    for one in ("backprop", gradient):
        solver = StratonovichHeun(num_steps=200, gradient=one)
        end = solver.solve(Twice(w, 3 * w), y0, [0.0, 1.0], seed=1).ys[-1]
        results.append(torch.autograd.grad(end.square().sum(), w)[0])
    torch.testing.assert_close(*results, rtol=1e-9 if gradient == "checkpoint" else 1e-2, atol=0)


@pytest.mark.parametrize("gradient", ["backprop", "adjoint"])
@pytest.mark.parametrize("end", [1.0, -1.0])
def test_perturbed_first_evaluations_are_made_beside_the_start(gradient, end):
    """A field that jumps at t0: the value just beside it counts, with a gradient and without."""
    c = torch.ones(1, dtype=torch.float64, requires_grad=True)
    counter = EvaluationCounter(Field(lambda t, y: c * (t != 0) * torch.ones_like(y)))
    solver = TorchDiffEq("euler", num_steps=2, gradient=gradient, options={"perturb": True})
    y0 = torch.zeros(1, 1, dtype=torch.float64)
    solution = solver.solve(counter, y0, [0.0, end])
    # nextafter keeps the evaluation within an ulp of t0
    assert solution.ys[-1].item() == pytest.approx(end)
    assert solution.stats.nfe_forward == counter.reset()
    (slope,) = torch.autograd.grad(solution.ys[-1].sum(), c)
    # the backward solve of torchdiffeq perturbs to its own side, which costs it one of two steps at most
    assert slope.item() / end > 0.4


def test_a_failing_backward_solve_is_a_typed_error():
    """Cubic decay from 1000, y⁻² = 1e-6 + 2t: backwards, an error of 1e-6 in y⁻² meets a pole before t0."""
    rate = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    solver = TorchDiffEq("dopri5", gradient="adjoint", rtol=1e-4, atol=1e-4, max_nfe=20_000)
    y0 = torch.full((1, 1), 1e3, dtype=torch.float64)
    ys = solver.solve(Field(lambda t, y: rate * y**3), y0, [0.0, 1.0]).ys
    with pytest.raises(SolverError, match=r"adjoint's backward solve failed at t=.*backprop or checkpoint"):
        ys[-1].sum().backward()


def test_assertions_of_the_field_stay_its_own():
    def function(t, y):
        assert t < 0.5, "only before one half"
        return -y

    with pytest.raises(AssertionError, match="only before one half"):
        TorchDiffEq("rk4", num_steps=4).solve(
            Field(function), torch.ones(1, 1, dtype=torch.float64), [0.0, 1.0]
        )


@pytest.mark.parametrize("mode", RECOMPUTING)
def test_graphs_go_with_the_last_reference(mode):
    """Not only when the garbage collector comes by: a cycle would keep every step of every batch until then."""
    a = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    kept = []

    def function(t, y):
        value = -a * y
        kept.append(weakref.ref(value))
        return value

    gc.collect()
    gc.disable()
    try:
        ys = solve(RECOMPUTING[mode][0], function)
        ys[-1].sum().backward()
        del ys
        # the watch over first evaluations and the field's own frame may hold the last ones
        alive = sum(reference() is not None for reference in kept)
    finally:
        gc.enable()
    assert alive <= 4
