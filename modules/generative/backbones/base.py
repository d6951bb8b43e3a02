"""The contract of networks f(t, x), and what builds them for a data set."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from integrand.diffusion import linearise
from integrand.errors import UsageError


class TimeNet(nn.Module):
    """A network f(t, x) of the shape of x; each sample's value depends on that sample alone."""

    @abstractmethod
    def forward(self, t: Tensor, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Evaluate on a batch.

        Args:
            t: Time, 0-d, or one for each sample: (batch,) or (batch, 1, …).
            x: State, shape (batch, …).
            y: Class of each sample, shape (batch,), where the network is conditional.

        Returns:
            Shape of x.
        """

    def blocks_once(self) -> list[nn.Module]:
        """Parts that an evaluation calls exactly once each, for `fsdp2` to gather one by one."""
        return []

    def linearise(self, t: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """f(t, x) and its products with the Jacobian, (∂f/∂x) v_i, in one pass of forward mode.

        Networks with a faster way override it.

        Args:
            t: Time, as in `forward`.
            x: State, shape (batch, …).
            v: Directions, shape (k, batch, …).

        Returns:
            Shapes (batch, …) and (k, batch, …).
        """
        return linearise(lambda z: self(t, z), x, v)


class Backbone(ABC):
    """Settings of a network; `build` makes it once the data set has told its shape."""

    @abstractmethod
    def build(self, shape: tuple[int, ...], num_classes: int = 0) -> TimeNet:
        """The network for samples of that shape.

        Args:
            shape: Shape of one sample.
            num_classes: Number of classes to condition on, 0 for none.

        Raises:
            UsageError: This kind of network cannot take such samples.
        """


def time_column(t: Tensor) -> Tensor:
    """The time as (1, 1) where all samples share it, else (batch, 1)."""
    return t.reshape(-1, 1)


def check_sizes(**sizes: int) -> None:
    """Raise unless every size is positive.

    Raises:
        UsageError: One is below 1.
    """
    for name, value in sizes.items():
        if value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}", f"set model.backbone.{name}")


def check_patches(patch: int, height: int, width: int) -> None:
    """Raise unless squares of pixels tile an image.

    Raises:
        UsageError: They do not.
    """
    if height % patch or width % patch:
        raise UsageError(
            f"patches of {patch} do not tile {height}×{width} pixels", "set model.backbone.patch"
        )
