"""What sampling returns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from integrand.solvers import Status

from .errors import NonFiniteSamplesError


@dataclass
class SampleResult:
    """Samples and what they cost.

    Args:
        x: Samples, shape (batch, ...), dtype of x_T; those that failed are kept as they came.
        nfe: Network evaluations per sample; a guided evaluation counts 2.
        times: Times of the steps, shape (steps + 1,), float64, decreasing.
        sampler: The sampler in a few words.
        status: `success`, `partial` where some samples are not finite, `non_finite` where none is.
        failed: Which samples are not finite, shape (batch,), bool; None when all are.
        trajectory: States at `times`, shape (steps + 1, batch, ...), where asked for.
    """

    x: Tensor
    nfe: int
    times: Tensor
    sampler: str = ""
    status: Status = Status.SUCCESS
    failed: Tensor | None = None
    trajectory: Tensor | None = None

    def require_finite(self) -> SampleResult:
        """The result itself.

        Raises:
            NonFiniteSamplesError: Some samples are not finite; the message names them.
        """
        if self.failed is None:
            return self
        which = torch.nonzero(self.failed).flatten().tolist()
        listed = ", ".join(map(str, which[:8])) + (", …" if len(which) > 8 else "")
        raise NonFiniteSamplesError(
            f"{self.sampler}: {len(which)} of {len(self.x)} samples are not finite (samples {listed})",
            "take more steps, guide less, or clip x0 with constraint: Clip",
        )


def mark_failures(x: Tensor) -> tuple[Status, Tensor | None]:
    """How sampling ended and which samples, shape (batch,), are not finite."""
    # a sum is finite only where all are; where it runs over, each is looked at
    if bool(x.sum().isfinite()):
        return Status.SUCCESS, None
    bad = ~torch.isfinite(x).flatten(1).all(1)
    if not bool(bad.any()):
        return Status.SUCCESS, None
    return (Status.NON_FINITE if bool(bad.all()) else Status.PARTIAL), bad
