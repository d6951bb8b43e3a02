"""Reference trajectories: the integrator, the times at which they are seen, and what disturbs the view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError

Array = npt.NDArray[np.float64]
Sampling = Literal["regular", "random"]
Rhs = Callable[[float, Array], Array]
"""dx/dt at one time, of states of shape (n, d)."""

RTOL, ATOL = 1e-12, 1e-13


def integrate(rhs: Rhs, starts: Array, times: Array) -> Array:
    """Solve x' = f(t, x) from many starts together, by DOP853 at rtol 1e-12.

    Args:
        rhs: f, for states of shape (n, d).
        starts: States at times[0], shape (n, d).
        times: Increasing, shape (m,).

    Returns:
        States, shape (n, m, d).

    Raises:
        DataError: The integrator gave up, or the equation has no finite value at a start.
    """
    from scipy.integrate import solve_ivp

    n, d = starts.shape
    if len(times) == 1:
        return starts[:, None]
    good = np.isfinite(rhs(times[0], starts)).all(axis=1)
    if not good.all():  # SciPy would look for a first step for ever
        state = ", ".join(f"{value:g}" for value in starts[np.argmin(good)])
        raise DataError(
            f"the equation gives NaN or infinity at t = {times[0]:g}, x = ({state})", "mend it, or its starts"
        )
    # the tolerance holds for the root mean square over all states together, hence the factor
    share = 1 / np.sqrt(n)
    solved = solve_ivp(
        lambda t, x: rhs(t, x.reshape(n, d)).ravel(),
        (times[0], times[-1]),
        starts.ravel(),
        method="DOP853",
        t_eval=times,
        rtol=max(RTOL * share, 2.3e-14),
        atol=ATOL * share,
    )
    if not solved.success:
        raise DataError(f"the reference integrator failed: {solved.message}", "shorten data.duration")
    states: Array = solved.y.reshape(n, d, len(times)).transpose(0, 2, 1)
    return states


def see(times: Array, sampling: Sampling, points: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Which of many fine times are observed: every one of an even grid, or some at random with the first.

    Args:
        times: The fine grid, whose length less one is a multiple of points − 1 where sampling is regular.
        sampling: `regular` or `random`.
        points: How many.
        rng: Draws them.
    """
    if sampling == "regular":
        return np.linspace(0, len(times) - 1, points).round().astype(np.int64)
    chosen = 1 + rng.permutation(len(times) - 1)[: points - 1]
    return np.concatenate([[0], np.sort(chosen)])


def disturbed(values: Array, noise: float, missing: float, rng: np.random.Generator) -> Array:
    """Values with Gaussian noise, and NaN for a share of them.

    Args:
        values: Shape (m, channels).
        noise: Standard deviation, 0 or more.
        missing: Share of the values that are not seen; the first observation is seen whole.
        rng: Draws both.
    """
    seen = values + noise * rng.standard_normal(values.shape) if noise > 0 else values.copy()
    if missing > 0:
        hidden = rng.random(values.shape) < missing
        hidden[0] = False
        seen[hidden] = np.nan
    return seen
