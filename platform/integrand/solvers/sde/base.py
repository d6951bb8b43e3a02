"""The contract of every SDE solver."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Protocol

from torch import Tensor

from ..options import Shown
from ..solution import Solution
from .brownian import Brownian

NoiseType = Literal["diagonal", "scalar", "additive", "commutative", "general"]
SDEType = Literal["ito", "stratonovich"]


class SDE(Protocol):
    """dy = f(t, y) dt + g(t, y) dW, torchsde's convention; an `nn.Module` in practice.

    With diagonal noise g returns y's shape (batch, ...), and component i depends on component i of y alone.
    With the other types y has shape (batch, d) and g returns (batch, d, m), m = 1 for scalar; additive noise
    does not depend on y; the columns of commutative noise satisfy (∂gᵢ/∂y) gⱼ = (∂gⱼ/∂y) gᵢ.
    """

    noise_type: str
    sde_type: str

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Drift, shape of y."""

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diffusion."""


class SDESolver(Shown, ABC):
    """Integrates a stochastic differential equation along one Brownian path per sample."""

    strong_order: ClassVar[float | None] = None
    """Strong order with diagonal noise, or all that is taken; None where it depends on the chosen method."""
    strong_orders: ClassVar[Mapping[str, float]] = {}
    """Strong orders with noise types where it is another."""
    weak_order: ClassVar[float | None] = None
    """Weak order; None where it depends on the chosen method."""
    noise_types: ClassVar[tuple[str, ...]]
    """Noise types that the method can integrate."""
    sde_types: ClassVar[tuple[str, ...]]
    """Meanings of the stochastic integral that the method converges to."""
    gradients: ClassVar[tuple[str, ...]] = ("backprop",)
    """The gradient modes that can be chosen."""

    @abstractmethod
    def solve(
        self,
        sde: SDE,
        y0: Tensor,
        t: Tensor | Sequence[float],
        seed: int | None = None,
        first_sample: int = 0,
        brownian: Brownian | None = None,
    ) -> Solution:
        """Integrate from t[0] through every time of t.

        Args:
            sde: Drift f, diffusion g, noise_type and sde_type.
            y0: State at t[0], shape (batch, ...).
            t: Output times, shape (n_t,), increasing.
            seed: Seed of the Brownian paths; None draws one from torch's generator, so that
                `torch.manual_seed` decides. One seed is one path for every method and dtype, and for all
                grids that come from one by halving.
            first_sample: Index of the first sample of this batch among all samples of the seed: a batch
                cut in parts gets the paths of the whole.
            brownian: A path to use in place of the seeded one, such as a `BrownianPath`, so that solves with
                any steps see the same.

        Returns:
            Solution with ys of shape (n_t, *y0.shape); nfe_forward counts drift evaluations, nfe_diffusion
            diffusion evaluations.
        """

    @abstractmethod
    def describe(self) -> str:
        """The solver in a few words, such as `euler-maruyama num_steps=100`."""
