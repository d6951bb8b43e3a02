"""A Brownian path of the engine as torchsde's methods ask for it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torchsde
from torch import Tensor

from .brownian import Brownian


class EnginePath(torchsde.BaseBrownian):  # type: ignore[misc]  # torchsde has no types
    """Answers torchsde's questions from a `Brownian`, so that both see one path.

    Args:
        path: The path.
        nodes: Ends of the solve's steps; times that rounding has moved off a node are put back on it.
        shape: Shape of ΔW, (batch, m).
        dtype: Dtype of the state.
        device: Device of the state.
    """

    def __init__(
        self,
        path: Brownian,
        nodes: Sequence[float],
        shape: tuple[int, int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.path, self.nodes = path, nodes
        self._shape, self._dtype, self._device = torch.Size(shape), dtype, device

    def __call__(
        self, ta: Tensor | float, tb: Tensor | float, return_U: bool = False, return_A: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """ΔW over [ta, tb], with ∫∫dW ds where U is wanted."""
        assert not return_A
        a, b = self._node(float(ta)), self._node(float(tb))
        w, h = self.path.increment(a, b, return_U)
        if not return_U:
            return w
        assert h is not None
        return w, (b - a) * (w / 2 + h)

    def _node(self, t: float) -> float:
        first, last, number = self.nodes[0], self.nodes[-1], len(self.nodes) - 1
        step = (last - first) / number
        near = self.nodes[min(max(round((t - first) / step), 0), number)]
        return near if abs(near - t) < 1e-6 * step else t

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the increments."""
        return self._dtype

    @property
    def device(self) -> torch.device:
        """Device of the increments."""
        return self._device

    @property
    def shape(self) -> torch.Size:
        """Shape of the increments."""
        return self._shape

    @property
    def levy_area_approximation(self) -> str:
        """What the path offers beside its increments."""
        return "space-time"
