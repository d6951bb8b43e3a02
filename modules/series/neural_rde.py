"""Neural rough differential equation (Morrill et al. 2021)."""

from __future__ import annotations

from typing import Any

from integrand.solvers import RungeKutta
from integrand.spec import Spec

from .matrix_field import MatrixField
from .windows import WindowedFamily


class NeuralRDE(WindowedFamily):
    """Neural CDE that takes one step for many observations, and reads each window by its log-signature.

    The field has one column for every coordinate of the log-signature, so its size grows with the power
    `signature_depth` of the channels. Depth 1 with window 1 is the neural CDE of the linear path.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Length of the hidden state.
        hidden: Width of the hidden layers of the field.
        depth: Number of hidden layers of the field.
        window: Gaps between observations in a window.
        signature_depth: 1, 2 or 3.
        counts: Whether the path tells how many values were seen; by default if values may be missing.
        solver: A Runge–Kutta method; its num_steps counts the steps of each window. One step of RK4 where
            omitted.
        **kwargs: See `SeriesFamily`.
    """

    family = "neural-rde"
    title = "Neural RDE"
    group = "series"
    equation = "ż = f(z; θ) logsig(X on the window), one column for each Lyndon word"
    reference = "Morrill et al. 2021, Neural Rough Differential Equations for Long Time Series, eq. 6"
    uses_solver = True

    def __init__(
        self,
        spec: Spec,
        channels: int = 32,
        hidden: int = 32,
        depth: int = 2,
        window: int = 4,
        signature_depth: int = 2,
        counts: bool | None = None,
        solver: RungeKutta | None = None,
        **kwargs: Any,
    ) -> None:
        def make(path: int, columns: int) -> MatrixField:
            return MatrixField(channels, columns, hidden, depth)

        super().__init__(spec, channels, window, signature_depth, counts, solver, make, **kwargs)
