"""PolyNet: polynomial approximations of one backward-Euler step (Zhang et al. 2017)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from integrand.spec import Spec

from ..bench import BenchFamily, FieldMaker, Stage
from .stepping import Evaluator, State, SteppedDynamics, require_variant

Variant = Literal["poly-2", "poly-3", "mpoly-2", "mpoly-3", "2-way", "3-way"]


class PolyNetDynamics(SteppedDynamics):
    """x_{n+1} = p(hF) x_n, with p a truncation of (I − hF)⁻¹ = I + hF + (hF)² + … for each block.

    | variant | p |
    |---|---|
    | poly-2, poly-3 | I + F + F², I + F + F² + F³: one F |
    | mpoly-2, mpoly-3 | I + F + GF, I + F + GF + HGF: one residual function for each order |
    | 2-way, 3-way | I + F + G, I + F + G + H: first order, several residual functions side by side |

    Args:
        channels: Channels of the hidden state.
        blocks: Number of blocks, 1 or more.
        variant: Which polynomial.
        h: Step size h, the residual scaling of the paper.
        field: Makes the residual functions.

    Raises:
        UsageError: There is no such variant.
    """

    composition = "stages"
    first_order = True

    def __init__(
        self,
        channels: int,
        blocks: int,
        variant: Variant,
        h: float,
        field: FieldMaker,
    ) -> None:
        super().__init__(channels, blocks, h)
        require_variant("variant", variant, Variant)
        self.scheme = variant
        numbers = variant.removesuffix("-way").rpartition("-")
        self.kind, self.order = ("way" if variant.endswith("-way") else numbers[0]), int(numbers[2])
        count = 1 if self.kind == "poly" else self.order
        self.repeats = count < self.order
        self.fields = nn.ModuleList(
            nn.ModuleList(field(channels) for _ in range(count)) for _ in range(blocks)
        )

    def residuals(self) -> list[nn.Module]:
        """The residual functions of every block."""
        return [field for block in self.fields for field in _members(block)]

    def step(self, n: int, state: State, f: Evaluator) -> State:
        """One block."""
        (x,) = state
        fields = _members(self.fields[n])
        total = term = x
        for order in range(self.order):
            # the terms of a polynomial act on each other, the ways all on x
            term = self.h * f(fields[order % len(fields)], x if self.kind == "way" else term)
            total = torch.add(total, term)
        return (total,)


def _members(block: nn.Module) -> list[nn.Module]:
    return list(block.children())


class PolyNet(BenchFamily):
    """PolyNet: blocks that apply a polynomial of their residual function, as backward Euler does.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; by default 32, or those of the state that is observed.
        blocks: Number of blocks.
        variant: `poly-2`, `poly-3` (one residual function), `mpoly-2`, `mpoly-3` (one for each order), or
            `2-way`, `3-way` (side by side).
        h: Step size in front of the residual function.
        **kwargs: See `BenchFamily`.
    """

    family = "polynet"
    title = "PolyNet (truncated backward Euler)"
    group = "discrete"
    equation = "x_{n+1} = (I + hF + (hF)² + …) x_n ≈ (I − hF)⁻¹ x_n"
    reference = "Zhang et al. 2017, PolyNet: A Pursuit of Structural Diversity in Very Deep Networks"

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        blocks: int = 4,
        variant: Variant = "poly-2",
        h: float = 1.0,
        **kwargs: Any,
    ) -> None:
        def make(stage: Stage) -> PolyNetDynamics:
            return PolyNetDynamics(stage.channels, stage.blocks(blocks), variant, h, stage.field)

        super().__init__(spec, make, channels=channels, **kwargs)
