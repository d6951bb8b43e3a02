"""Weights that change smoothly in time: the regulariser of the PDE networks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.spec import Spec

from ..bench import BenchFamily, DynamicsMaker
from ..bench.stages import stages_of
from .stepping import SteppedDynamics


def roughness(layers: Sequence[nn.Module], h: float) -> Tensor:
    """(1/2h) Σ_j ‖θ_{j+1} − θ_j‖², the discrete form of ½∫‖θ̇(t)‖² dt, a 0-d tensor.

    Args:
        layers: One layer for each step, all with the same parameters.
        h: Step size.
    """
    total = next(layers[0].parameters()).new_zeros(())
    for left, right in pairwise(layers):
        for a, b in zip(left.parameters(), right.parameters(), strict=True):
            total = total + torch.sum((b - a) ** 2)
    return total / (2 * h)


class SmoothInTime(BenchFamily):
    """Base of nets whose training loss keeps the weights of neighbouring steps together.

    Ruthotto & Haber 2020, Deep Neural Networks Motivated by Partial Differential Equations; with h = 1 the
    term is their (α₃/2) Σ ‖θ_{j+1} − θ_j‖².

    Args:
        spec: What the data set publishes; the command line fills it in.
        make: Makes the steps; `residuals()` holds one layer of each kind per step, kind after kind.
        channels: Channels of the hidden state.
        smoothness: Weight α of the term, 0 or more.
        **kwargs: See `BenchFamily`.

    Raises:
        UsageError: smoothness is negative.
    """

    def __init__(
        self, spec: Spec, make: DynamicsMaker, channels: int | None, smoothness: float, **kwargs: Any
    ) -> None:
        super().__init__(spec, make, channels=channels, **kwargs)
        if not smoothness >= 0:
            raise UsageError(
                f"smoothness must be 0 or more, got {smoothness}", "set model.smoothness, a weight"
            )
        self.smoothness = smoothness

    def penalty(self) -> dict[str, Tensor]:
        """The weighted roughness of the weights in time, over all stages."""
        if not self.smoothness:
            return {}
        kinds = []
        for dynamics in stages_of(self.net.dynamics):
            assert isinstance(dynamics, SteppedDynamics)
            layers, n = dynamics.residuals(), dynamics.blocks
            kinds += [roughness(layers[i : i + n], dynamics.h) for i in range(0, len(layers), n)]
        return {"smoothness": self.smoothness * torch.stack(kinds).sum()}
