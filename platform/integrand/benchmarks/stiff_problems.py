"""Classic stiff problems, Hairer, Wanner (1996), IV.10, as fields of a batch."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn


class StiffProblem(nn.Module):
    """ẏ = f(y) from `y0` to t = `end`."""

    y0: ClassVar[tuple[float, ...]]
    end: ClassVar[float]
    scale: ClassVar[float]
    """What a component is small against: atol is rtol times it, and errors are relative to no less."""


class Robertson(StiffProblem):
    """Three chemicals at rates from 4e-2 to 3e7."""

    y0, end, scale = (1.0, 0.0, 0.0), 1e5, 1e-4

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """See the class."""
        a, b, c = y.unbind(-1)
        slow, fast = 1e4 * b * c - 0.04 * a, 3e7 * b * b
        return torch.stack((slow, -slow - fast, fast), -1)


class HIRES(StiffProblem):
    """Eight chemicals in a plant's response to light."""

    y0, end, scale = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0057), 321.8122, 1e-2

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """See the class."""
        a, b, c, d, e, f, g, h = y.unbind(-1)
        bound = 280.0 * f * h
        return torch.stack(
            (
                -1.71 * a + 0.43 * b + 8.32 * c + 0.0007,
                1.71 * a - 8.75 * b,
                -10.03 * c + 0.43 * d + 0.035 * e,
                8.32 * b + 1.71 * c - 1.12 * d,
                -1.745 * e + 0.43 * f + 0.43 * g,
                -bound + 0.69 * d + 1.71 * e - 0.43 * f + 0.69 * g,
                bound - 1.81 * g,
                -bound + 1.81 * g,
            ),
            -1,
        )


class Oregonator(StiffProblem):
    """The Belousov–Zhabotinsky reaction: a limit cycle with jumps."""

    y0, end, scale = (1.0, 2.0, 3.0), 360.0, 1e-2

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """See the class."""
        a, b, c = y.unbind(-1)
        first = 77.27 * (b + a * (1 - 8.375e-6 * a - b))
        return torch.stack((first, (c - (1 + a) * b) / 77.27, 0.161 * (a - c)), -1)


class VanDerPol(StiffProblem):
    """Van der Pol's oscillator, μ = 1000: two relaxation jumps."""

    y0, end, scale = (2.0, 0.0), 2000.0, 1.0

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """See the class."""
        a, b = y.unbind(-1)
        return torch.stack((b, 1000.0 * (1 - a * a) * b - a), -1)


PROBLEMS: tuple[type[StiffProblem], ...] = (Robertson, HIRES, Oregonator, VanDerPol)
