"""Compares repeated steps with the steps that were taken."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .errors import SolverError


class Replays:
    """A step repeated for its gradient must end where it ended first.

    Equal bit by bit, or to rounding where kernels differ with and without a graph: 4 ulp of the state, and
    1,000 of the change over the step.

    Args:
        slack: Further relative difference that is let pass, of methods that iterate.
        solver: The solver, in a few words.
    """

    def __init__(self, slack: float, solver: str) -> None:
        self._slack, self._solver = slack, solver
        self._excess: list[Tensor] = []
        self._times: list[Sequence[Tensor]] = []

    @torch.no_grad()
    def compare(self, end: Tensor, stored: Tensor, start: Tensor, times: Sequence[Tensor]) -> None:
        """Note a difference.

        Reads nothing back from an accelerator; on the CPU equal ends are settled at once.

        Args:
            end: End of the repeated step.
            stored: End of the step.
            start: State at its start.
            times: Stage times, for the message.
        """
        if end.device.type == "cpu" and torch.equal(end, stored):
            return
        rounding = torch.finfo(end.dtype).eps
        largest, change = stored.abs().amax(), (stored - start).abs().amax()
        allowed = largest * (4 * rounding + self._slack) + 1000 * rounding * change
        # not a number where a frozen sample is not one in both
        self._excess.append((end - stored).abs().nan_to_num(0.0).amax() - allowed)
        self._times.append(times)

    def refuse_others(self) -> None:
        """Read the differences; call once, at the end.

        Raises:
            SolverError: A repeated step ended elsewhere, so that its gradient is that of another function.
        """
        if not self._excess:
            return
        elsewhere = torch.stack(self._excess) > 0
        if bool(elsewhere.any()):
            times = self._times[int(elsewhere.nonzero()[0])]
            where = f" from t={float(times[0].max()):.6g}" if times else ""
            raise SolverError(
                f"{self._solver}: the step{where} ended elsewhere when the backward pass repeated it: the"
                " field draws random numbers that are not torch's, or remembers earlier evaluations",
                "set gradient: backprop, or make the field a function of t and y alone",
            )
