"""What stands between the contract and torchdiffeq's call: callbacks, grids, warnings, failures."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .accounts import CountedField
from .errors import SolverError, StepUnderflowError
from .problem import grid, not_finite
from .solution import SolveStats


class Func:
    """The field as torchdiffeq sees it, with the step callbacks that its method supports."""

    def __init__(self, counted: CountedField, steps: StepRecord, method: str) -> None:
        self.counted = counted
        self.span: tuple[float, float] | None = None
        if method == "scipy_solver":
            return
        if steps.adaptive:
            self.callback_accept_step = steps.accept
            self.callback_reject_step = steps.reject
        else:
            self.callback_step = steps.accept

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate the counted field."""
        if self.span is not None and self.counted.in_backward:
            # the trial step with which a backward solve starts may reach beyond the data
            t = t.clamp(*self.span)
        return self.counted(t, y)


class StepRecord:
    """Collects step sizes on the device; read once at the end."""

    def __init__(self, adaptive: bool) -> None:
        self.adaptive = adaptive
        self.sizes: list[Tensor] = []
        self.rejected = 0

    def accept(self, t: Tensor, y: Tensor, dt: Tensor) -> None:
        """Callback of an accepted step."""
        self.sizes.append(dt.detach())

    def reject(self, t: Tensor, y: Tensor, dt: Tensor) -> None:
        """Callback of a rejected step."""
        self.rejected += 1

    def report(self, stats: SolveStats, known: bool) -> None:
        """Write the steps into `stats`; one synchronisation."""
        if not known:
            stats.accepted = stats.rejected = None
        elif self.sizes:
            sizes = torch.stack(self.sizes).abs().tolist()
            stats.accepted, stats.rejected = len(sizes), self.rejected
            stats.min_step, stats.max_step, stats.step_sizes = min(sizes), max(sizes), sizes


def grid_constructor(step_size: float) -> Callable[[object, Tensor, Tensor], Tensor]:
    """Nodes of the fixed grid as torchdiffeq asks for them, forward or for one interval of the adjoint."""

    def nodes(_: object, y0: Tensor, t: Tensor) -> Tensor:
        times = t.tolist()
        inner = [node for interval in grid(times, step_size, None) for node in interval[:-1]]
        return torch.tensor([*inner, times[-1]], dtype=t.dtype, device=t.device)

    return nodes


def call(solve: Callable[..., Any], func: Func, y0: Tensor, t: Tensor, **kwargs: Any) -> Tensor:
    """Call torchdiffeq; its repeated warnings become one."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ys: Tensor = solve(func, y0, t, **kwargs)
    stalled = [w for w in caught if "did not converge" in str(w.message)]
    if stalled:
        warnings.warn(
            f"{kwargs['method']}: the functional iteration did not converge in {len(stalled)} steps; "
            "take smaller steps, or rtol and atol of at least 1e-4 in float32",
            stacklevel=4,
        )
    for w in caught:
        if w not in stalled and "have no effect for a chosen solver" not in str(w.message):
            warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)
    if len(ys) != len(t):
        raise SolverError(
            f"{kwargs['method']} stopped after {len(ys)} of {len(t)} output times", "loosen rtol and atol"
        )
    return ys


@contextmanager
def typed_failures(name: str, counted: CountedField) -> Iterator[None]:
    """Turns torchdiffeq's assertions, forward or backward, into errors that say where the solve stood.

    Args:
        name: The solver, in a few words.
        counted: The counted field, which remembers the last evaluation.
    """
    try:
        yield
    except AssertionError as error:
        if _raised_by_torchdiffeq(error):
            raise _typed(error, name, counted) from error
        raise


def _raised_by_torchdiffeq(error: AssertionError) -> bool:
    """Whether the assertion is not the field's own."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).startswith("torchdiffeq.")


def _typed(error: AssertionError, name: str, counted: CountedField) -> SolverError:
    last, stats = counted.last, counted.stats
    nfe = stats.nfe_backward if counted.in_backward else stats.nfe_forward
    where = f"at t={float(last[0]):.6g} (NFE {nfe})" if last is not None else f"(NFE {nfe})"
    if counted.in_backward:
        return SolverError(
            f"{name}: the adjoint's backward solve failed {where}: {error}",
            "set gradient: backprop or checkpoint; backwards a contracting field expands",
        )
    if "max_num_steps" in str(error):
        return SolverError(f"{name} {error} {where}", "raise options.max_num_steps or loosen rtol")
    finite = last is None or bool(torch.isfinite(last[2]).all())
    if not finite or "non-finite" in str(error):
        return not_finite(name, where)
    if "underflow" in str(error):
        return StepUnderflowError(
            f"{name}: the step fell below the resolution of t {where}: {error}",
            "loosen rtol and atol, use a stiff method such as Rodas5P, or regularise the field",
        )
    return SolverError(f"{name}: torchdiffeq refuses {where}: {error}", "check times, state and options")
