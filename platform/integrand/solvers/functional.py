"""Plain functions: `odeint`, `sdeint` and `cdeint` on any callable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, cast, overload

from torch import Tensor, nn

from integrand.errors import SpecError

from .base import ODESolver
from .callables import FunctionField, hold
from .control import CDESolver, ControlledField, ControlPath
from .errors import SolverOptionError
from .event_search import Event
from .events import EventSolution, solve_with_events
from .named import ode_solver, sde_solver
from .runge_kutta import RungeKutta
from .sde import SDE, Brownian, LatentSDE, SDESolver, solve_logqp
from .sde.torchsde_path import LibraryPath
from .solution import Solution
from .states import Layout

S = TypeVar("S")
"""A state: a tensor, or tuples, lists and dicts of states."""


@overload
def odeint(
    func: Callable[..., Any],
    y0: S,
    t: Tensor | Sequence[float],
    *,
    method: str | None = ...,
    solver: ODESolver | None = ...,
    args: tuple[Any, ...] = ...,
    options: Mapping[str, Any] | None = ...,
    mask: Tensor | None = ...,
    events: None = ...,
    return_solution: Literal[False] = ...,
    **settings: Any,
) -> S: ...


@overload
def odeint(
    func: Callable[..., Any],
    y0: S,
    t: Tensor | Sequence[float],
    *,
    method: str | None = ...,
    solver: ODESolver | None = ...,
    args: tuple[Any, ...] = ...,
    options: Mapping[str, Any] | None = ...,
    mask: Tensor | None = ...,
    events: None = ...,
    return_solution: Literal[True],
    **settings: Any,
) -> tuple[S, Solution]: ...


@overload
def odeint(
    func: Callable[..., Any],
    y0: Tensor,
    t: Tensor | Sequence[float],
    *,
    method: str | None = ...,
    solver: ODESolver | None = ...,
    args: tuple[Any, ...] = ...,
    options: Mapping[str, Any] | None = ...,
    events: Sequence[Event],
    **settings: Any,
) -> tuple[Tensor, EventSolution]: ...


def odeint(
    func: Callable[..., Any],
    y0: Any,
    t: Tensor | Sequence[float],
    *,
    method: str | None = None,
    solver: ODESolver | None = None,
    args: tuple[Any, ...] = (),
    options: Mapping[str, Any] | None = None,
    mask: Tensor | None = None,
    events: Sequence[Event] | None = None,
    return_solution: bool = False,
    **settings: Any,
) -> Any:
    """Integrate ẏ = func(t, y, *args) from t[0] through every time of t.

    Gradients reach y0, `args`, and modules and tensors that the function closes over, whatever the solver's
    gradient mode.

    Args:
        func: Any callable; returns dy/dt with the structure and the shapes of y. t is a 0-d tensor.
        y0: State at t[0]: a tensor of any shape, real or complex, or tuples, lists and dicts of them. Tensors
            that share their first dimension are a batch.
        t: Output times, shape (n_t,), monotone, or times of each sample's own, shape (batch, n_t), for
            solvers that take them. May require a gradient.
        method: A name of torchdiffeq's (`dopri5`, the default, `rk4`, `implicit_adams`, …) or a class of this
            package (`Dopri5`, `SDIRK3`, …). Without step_size or num_steps a method of fixed steps takes one
            step from each time to the next, as torchdiffeq does.
        solver: A solver, instead of method and settings.
        args: Further positional arguments of func.
        options: More settings, as torchdiffeq takes them.
        mask: With times of each sample's own, which of them count, shape (batch, n_t), bool.
        events: What to watch for, see `solve_with_events`; func then gets t of shape (batch, 1, ...).
        return_solution: Return the `Solution` too, whose ys is the packed state.
        **settings: Arguments of the solver, such as rtol, atol, num_steps, gradient.

    Returns:
        The trajectory in the structure of y0, every tensor (n_t, *shape); with return_solution a pair of it
        and the `Solution`, with events of it and the `EventSolution`.

    Raises:
        SolverOptionError: Unknown method or setting, or a solver that takes no mask or no events.
        SpecError: A state that cannot be integrated, or a derivative that does not fit it.
        SolverError: The solve failed.
    """
    layout = Layout.of(y0)
    if isinstance(func, nn.Module) and layout.plain and not args:
        field: nn.Module = func
    else:
        field = FunctionField(_callable(func), layout, args)
    chosen = ode_solver(method, solver, {**settings, **(options or {})})
    if events is not None:
        if not layout.plain:
            raise SpecError("events are functions of one tensor", "concatenate the parts of the state")
        found = _watched(chosen, field, y0, t, events, mask)
        return found.ys, found
    solution = _solved(chosen, field, layout.pack(y0), t, mask)
    trajectory = layout.restore(solution.ys)
    return (trajectory, solution) if return_solution else trajectory


def _solved(
    solver: ODESolver, field: nn.Module, y0: Tensor, t: Tensor | Sequence[float], mask: Tensor | None
) -> Solution:
    """By common times or by those of each sample's own."""
    if mask is None:
        return solver.solve(field, y0, t)
    if not solver.own_times:
        raise SolverOptionError(
            f"{type(solver).__name__} takes no times of each sample's own", "use Dopri5, or leave out mask"
        )
    # every solver that declares own_times takes a mask
    return cast(RungeKutta, solver).solve(field, y0, t, mask)


def _watched(
    solver: ODESolver,
    field: nn.Module,
    y0: Tensor,
    t: Tensor | Sequence[float],
    events: Sequence[Event],
    mask: Tensor | None,
) -> EventSolution:
    """With an eye on events."""
    if mask is not None:
        raise SolverOptionError("events know common times only", "leave out mask")
    return solve_with_events(solver, field, y0, t, events)


def sdeint(
    sde: SDE | tuple[Callable[..., Any], Callable[..., Any]],
    y0: Any,
    ts: Tensor | Sequence[float],
    *,
    method: str | None = None,
    solver: SDESolver | None = None,
    dt: float | None = None,
    noise_type: str = "diagonal",
    sde_type: str = "ito",
    args: tuple[Any, ...] = (),
    seed: int | None = None,
    first_sample: int = 0,
    brownian: Brownian | None = None,
    bm: Callable[..., Any] | None = None,
    logqp: bool = False,
    return_solution: bool = False,
    **settings: Any,
) -> Any:
    """Integrate dy = f(t, y) dt + g(t, y) dW along one Brownian path per sample.

    Args:
        sde: An equation with f, g, noise_type and sde_type, as torchsde takes it, or a pair of callables
            (f, g), each called as `f(t, y, *args)`.
        y0: State at ts[0], shape (batch, ...), or with diagonal noise tuples, lists and dicts of such.
        ts: Output times, shape (n_t,), increasing.
        method: A name of torchsde's (`euler`, `milstein`, `srk`, `heun`, …) or a class of this package. The
            default is the first of `srk` and `euler` (Itô) or `heun` (Stratonovich) that takes the noise.
        solver: A solver, instead of method, dt and settings.
        dt: Longest step, 1e-3 where neither it nor num_steps is given, as in torchsde.
        noise_type: Of a pair (f, g): `diagonal`, `scalar`, `additive` or `general`.
        sde_type: Of a pair (f, g): `ito` or `stratonovich`.
        args: Further positional arguments of a pair (f, g).
        seed: Seed of the Brownian paths; None draws one from torch's generator.
        first_sample: Index of the first sample of this batch among all samples of the seed.
        brownian: A path to use in place of the seeded one, such as a `BrownianPath`.
        bm: The same as torchsde has it, such as its `BrownianInterval`.
        logqp: Return the divergence from the prior drift `h` of an SDE object too; see `solve_logqp`.
        return_solution: Return the `Solution` too.
        **settings: Arguments of the solver, such as gradient.

    Returns:
        The trajectory in the structure of y0, every tensor (n_t, *shape); with logqp a tuple of it and the
        divergence over each interval, shape (n_t − 1, batch); with return_solution the `Solution` last.

    Raises:
        SolverOptionError: Unknown method or setting, or a method that the equation does not fit.
        SpecError: A state that cannot be integrated.
        SolverError: The solve failed.
    """
    layout = Layout.of(y0)
    if bm is not None:
        if brownian is not None:
            raise SolverOptionError("bm and brownian are two paths", "pass one of them")
        brownian = LibraryPath(bm)
    if isinstance(sde, tuple):
        sde = _Pair(sde, noise_type, sde_type, layout, args)
    elif not layout.plain or args:
        raise SpecError(
            "an SDE object takes one tensor as its state and no args", "pass the pair (sde.f, sde.g) instead"
        )
    if not layout.plain and sde.noise_type != "diagonal":
        raise SpecError(
            f"{sde.noise_type} noise couples the tensors of a state", "concatenate them to (batch, d)"
        )
    chosen = sde_solver(method, solver, sde, dt, ts, settings)
    start = layout.pack(y0)
    if not logqp:
        solution = chosen.solve(sde, start, ts, seed=seed, first_sample=first_sample, brownian=brownian)
        parts = [layout.restore(solution.ys)]
    else:
        # solve_logqp asks for the prior drift
        latent = cast(LatentSDE, sde)
        solution, divergence = solve_logqp(chosen, latent, start, ts, seed, first_sample, brownian)
        parts = [layout.restore(solution.ys), divergence]
    if return_solution:
        parts.append(solution)
    return parts[0] if len(parts) == 1 else tuple(parts)


def cdeint(
    X: ControlPath,
    func: Callable[..., Any],
    z0: Tensor,
    t: Tensor | Sequence[float] | None = None,
    *,
    method: str | None = None,
    solver: ODESolver | None = None,
    args: tuple[Any, ...] = (),
    return_solution: bool = False,
    **settings: Any,
) -> Any:
    """Integrate dz = func(t, z, *args) dX along a control path, in steps that end at its knots.

    Args:
        X: The control, such as `hermite_control(x, t)`.
        func: Any callable that returns the matrix f(t, z), shape (batch, h, c). Where it has a method
            `prod(t, z, dX)` this is called instead, as in torchcde; a `ControlledField` has `increment`.
        z0: State at the first time, shape (batch, h).
        t: Output times within the knots, increasing; the first and the last knot where None.
        method: As in `odeint`; without step_size or num_steps a method of fixed steps takes one step from
            knot to knot. The default is `RK4`.
        solver: An explicit Runge–Kutta method, instead of method and settings; its num_steps counts the steps
            of each interval between knots.
        args: Further positional arguments of func.
        return_solution: Return the `Solution` too.
        **settings: Arguments of the solver, such as gradient.

    Returns:
        The trajectory, shape (n_t, batch, h): times first, unlike torchcde; with return_solution a pair of it
        and the `Solution`.

    Raises:
        SolverOptionError: Unknown method or setting, or a method that cannot be run from knot to knot.
        SpecError: Shapes of control, state and field, or times beyond the knots.
        SolverError: The solve failed.
    """
    field: nn.Module
    if isinstance(func, ControlledField) and not args:
        field = func
    elif hasattr(func, "prod"):
        field = _Product(func.prod, args)
    else:
        field = FunctionField(_callable(func), Layout.of(z0), args)
    chosen = ode_solver(method, solver, settings, default="RK4")
    solution = CDESolver(chosen).solve(field, X, z0, t)  # type: ignore[arg-type]  # checked there
    return (solution.ys, solution) if return_solution else solution.ys


class _Product(ControlledField):
    """torchcde's `prod` as an increment."""

    def __init__(self, product: Callable[..., Tensor], args: tuple[Any, ...]) -> None:
        super().__init__()
        self.product, self.args = product, args
        hold(self, (product, *args))

    def increment(self, t: Tensor, z: Tensor, dx: Tensor) -> Tensor:
        """See `ControlledField.increment`."""
        return self.product(t, z, dx, *self.args)


class _Pair(nn.Module):
    """Drift and diffusion as one equation."""

    def __init__(
        self,
        pair: tuple[Callable[..., Any], ...],
        noise_type: str,
        sde_type: str,
        layout: Layout,
        args: tuple[Any, ...],
    ) -> None:
        super().__init__()
        if len(pair) != 2:
            raise SpecError(f"an SDE is a pair (f, g), not {len(pair)} functions", "pass (drift, diffusion)")
        self.drift, self.diffusion = (_callable(f) for f in pair)
        self.noise_type, self.sde_type = noise_type, sde_type
        self.layout, self.args = layout, args
        hold(self, (*pair, *args))

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Drift."""
        return self.layout.pack(self.drift(t, self.layout.unpack(y), *self.args), "the drift")

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diffusion."""
        return self.layout.pack(self.diffusion(t, self.layout.unpack(y), *self.args), "the diffusion")


def _callable(func: Any) -> Callable[..., Any]:
    if not callable(func):
        raise SpecError(f"the field is {type(func).__name__}, which cannot be called", "pass f(t, y)")
    function: Callable[..., Any] = func
    return function
