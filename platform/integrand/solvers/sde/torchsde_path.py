"""Brownian paths of the engine as torchsde's methods ask for them, and the other way round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torchsde
from torch import Tensor

from ..errors import SolverOptionError
from .brownian import Brownian


class LibraryPath:
    """A `Brownian` from a path of torchsde's.

    Args:
        path: Called as `path(ta, tb)`, and with `return_U=True` where the method asks for areas.
    """

    def __init__(self, path: Callable[..., Any]) -> None:
        self.path = path

    def increment(self, a: float, b: float, area: bool) -> tuple[Tensor, Tensor | None]:
        """See `Brownian.increment`.

        Raises:
            SolverOptionError: The method asks for areas and the path has none.
        """
        if not area:
            return self.path(a, b), None
        if getattr(self.path, "levy_area_approximation", "none") == "none":
            raise SolverOptionError(
                "the method needs Lévy areas, which this path does not offer",
                "make it with levy_area_approximation='space-time', or pass seed",
            )
        w, u = self.path(a, b, return_U=True)
        return w, u / (b - a) - w / 2


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
