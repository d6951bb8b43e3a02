"""The contract of every ODE solver: (field, state, times) → trajectory and what it cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

from torch import Tensor, nn

from .dense import Piece
from .errors import SolverOptionError
from .options import Shown
from .solution import Solution, SolveStats


class ODESolver(Shown, ABC):
    """Integrates ẏ = f(t, y) for a field f given as an `nn.Module` called as `field(t, y)`.

    Subclasses declare what they are as class attributes; one shared conformance test checks the declarations.
    """

    order: ClassVar[int | None] = None
    """Order of convergence of the global error; None where it depends on the chosen method."""
    adaptive: ClassVar[bool | None] = None
    """Whether the step size follows an error estimate; None where it depends on the chosen method."""
    gradients: ClassVar[tuple[str, ...]] = ("backprop",)
    """The gradient modes that can be chosen."""
    own_times: ClassVar[bool] = False
    """Whether `solve` takes times of each sample's own, shape (batch, n_t), and a `mask` of them."""

    @abstractmethod
    def solve(self, field: nn.Module, y0: Tensor, t: Tensor | Sequence[float]) -> Solution:
        """Integrate from t[0] through every time of t.

        Args:
            field: Module called as `field(t, y)` with t a 0-d tensor and y of y0's shape; returns dy/dt of
                the same shape.
            y0: State at t[0], shape (batch, ...).
            t: Output times, shape (n_t,), strictly increasing or strictly decreasing.

        Returns:
            Solution with ys of shape (n_t, *y0.shape) and ys[0] equal to y0.

        Raises:
            SolverError: The solve failed; the message names t, step size, error ratio, NFE and a remedy.
        """

    def watch(
        self, field: nn.Module, y0: Tensor, t: tuple[float, float], look: Callable[[Piece], bool]
    ) -> SolveStats:
        """Solve without a graph from one time to another and show every step.

        Args:
            field: The field.
            y0: State at the first time, shape (batch, ...).
            t: First and last time.
            look: Called with each step in turn; the solve ends where it returns true.

        Returns:
            The account.

        Raises:
            SolverOptionError: The solver's steps cannot be seen.
            SolverError: The solve failed.
        """
        raise SolverOptionError(
            f"the steps of {type(self).__name__} are made elsewhere and cannot be watched for events",
            "use Dopri5 or another method of this package",
        )

    @abstractmethod
    def describe(self) -> str:
        """The solver in a few words for run names and tables, such as `dopri5 rtol=1e-3 atol=1e-3`."""
