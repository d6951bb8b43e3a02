"""Linear controlled differential equations with structured matrices."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.series import Series
from integrand.spec import Classes, Spec, Targets

from .base import Said, SeriesFamily
from .controls import Observed
from .scans import product_scan
from .stack import Mixed

Structure = Literal["diagonal", "block", "dense"]


class LinearCDELayer(nn.Module):
    """dh = Σᵢ Aᵢ h dωᵢ with matrices Aᵢ of blocks, exact for the straight lines between observations.

    Over a gap h is multiplied by exp(Σᵢ Aᵢ Δωᵢ). Blocks of length 1 commute: then h depends on where the path
    ends and not on its way there.

    Args:
        inputs: Channels of the path ω.
        channels: Length of h.
        block: Length of a block, a divisor of `channels`.
        length: Observations of the longest series.
        scan: Whether the products over all observations are formed in log₂ n rounds instead of one by one.
    """

    def __init__(self, inputs: int, channels: int, block: int, length: int, scan: bool) -> None:
        super().__init__()
        self.block, self.scan = block, scan
        # a product of n factors exp(M) with entries of variance v grows like exp(n v block / 2)
        scale = (inputs * block * length) ** -0.5
        self.matrices = nn.Parameter(scale * torch.randn(inputs, channels // block, block, block))
        self.start = nn.Linear(inputs, channels)

    def forward(self, omega: Tensor) -> Tensor:
        """States at all observations.

        Args:
            omega: The path at the observations, shape (batch, n, inputs).

        Returns:
            Shape (batch, n, channels).
        """
        h0 = self.start(omega[:, 0])
        generators = torch.einsum("bni,ikpq->bnkpq", omega.diff(dim=1), self.matrices)
        if self.block == 1:
            exponents = generators.squeeze(-1).squeeze(-1).cumsum(dim=1)
            return torch.cat((h0.unsqueeze(1), h0.unsqueeze(1) * exponents.exp()), dim=1)
        factors = torch.linalg.matrix_exp(generators)
        blocks = h0.view(len(h0), -1, self.block, 1)
        later = product_scan(factors) @ blocks.unsqueeze(1) if self.scan else self._steps(factors, blocks)
        states = torch.cat((blocks.unsqueeze(1), later), dim=1)
        return states.flatten(2)

    @staticmethod
    def _steps(factors: Tensor, h: Tensor) -> Tensor:
        states = []
        for factor in factors.unbind(1):
            h = factor @ h
            states.append(h)
        return torch.stack(states, dim=1) if states else h.new_zeros(len(h), 0, *h.shape[1:])


class _OfSequence(nn.Module):
    """A layer driven by a sequence, with the time as one more channel of its path."""

    def __init__(self, layer: LinearCDELayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, passed: Tensor) -> Tensor:
        """From (batch, n, channels) to the same; times of shape (batch, n)."""
        value: Tensor = self.layer(torch.cat((passed.unsqueeze(-1), x), dim=-1))
        return value


class LinearCDE(SeriesFamily):
    """Linear controlled equations, one driven by the other, with a nonlinear map of each state in between.

    No solver: a gap is one matrix exponential, and all gaps together an associative product.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Length of the states.
        structure: `diagonal`, which cannot tell in which order things came; `block`; or `dense`.
        block: Length of a block of `block`, a divisor of `channels`.
        depth: Number of equations.
        dropout: Probability of dropping an entry between layers in training.
        counts: Whether the path tells how many values were seen; by default if values may be missing.
        **kwargs: See `SeriesFamily`.

    Raises:
        UsageError: The structure is unknown, or the blocks do not fit.
    """

    family = "linear-cde"
    title = "Linear CDE"
    group = "series"
    answers = (Classes, Targets)
    equation = "dh = Σᵢ Aᵢ h dωᵢ, Aᵢ diagonal, block-diagonal or dense"
    reference = "Walker et al. 2025, Structured Linear CDEs"

    def __init__(
        self,
        spec: Spec,
        channels: int = 32,
        structure: Structure = "block",
        block: int = 4,
        depth: int = 2,
        dropout: float = 0.0,
        counts: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, channels, **kwargs)
        size = _block_of(structure, block, channels)
        if depth < 1 or not 0 <= dropout < 1:
            raise UsageError(
                f"depth={depth}, dropout={dropout}", "set model.depth to 1 or more, model.dropout below 1"
            )
        # products of large blocks cost more than they save in rounds
        scan = structure == "block"
        self.observed = Observed(self.spec, counts)

        def make(inputs: int) -> LinearCDELayer:
            return LinearCDELayer(inputs, channels, size, self.spec.length, scan)

        self.first = make(self.observed.channels + self.spec.static)
        self.later = nn.ModuleList(
            Mixed(_OfSequence(make(channels + 1)), channels, dropout) for _ in range(depth - 1)
        )
        self.stochastic = dropout > 0 and depth > 1

    def read(self, x: Series) -> Said:
        """The last equation's state at the last observation; see `SeriesFamily.read`."""
        rows = self.observed.filled(x)
        passed = rows[..., 0]
        # a static number is a channel that stands still: it enters the initial state alone
        h = self.first(torch.cat((rows, x.static.unsqueeze(1).expand(-1, rows.shape[1], -1)), dim=-1))
        for layer in self.later:
            h = layer(h, passed)
        return h[torch.arange(len(h), device=h.device), x.lengths - 1], []


def _block_of(structure: Structure, block: int, channels: int) -> int:
    """Length of the blocks."""
    sizes = {"diagonal": 1, "block": block, "dense": channels}
    if structure not in sizes or block < 1 or channels % sizes[structure]:
        raise UsageError(
            f"structure={structure!r}, block={block}, channels={channels}",
            f"set model.structure to {', '.join(sizes)}, and model.block to a divisor of model.channels",
        )
    return sizes[structure]
