"""What stands between the contract and torchdiffeq's call: callbacks, grids, warnings, failures."""

from __future__ import annotations

import warnings
from collections.abc import Callable
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


class typed_failures:
    """Turns torchdiffeq's assertions into errors that say where the solve stood."""

    def __init__(self, name: str, counted: CountedField) -> None:
        self.name = name
        self.counted = counted

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if not isinstance(error, AssertionError):
            return
        last = self.counted.last
        nfe = self.counted.stats.nfe_forward
        where = f"at t={float(last[0]):.6g} (NFE {nfe})" if last is not None else f"(NFE {nfe})"
        name = self.name
        if "max_num_steps" in str(error):
            raise SolverError(
                f"{name} {error} {where}", "raise options.max_num_steps or loosen rtol"
            ) from error
        finite = last is None or bool(torch.isfinite(last[2]).all())
        if not finite or "non-finite" in str(error):
            raise not_finite(name, where) from error
        if "underflow" in str(error):
            raise StepUnderflowError(
                f"{name}: the step fell below the resolution of t {where}: {error}",
                "loosen rtol and atol, use a stiff method such as SDIRK3, or regularise the field",
            ) from error
