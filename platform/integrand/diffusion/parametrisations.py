"""What a network predicts, and how each prediction is read as every other.

Every parametrisation here is affine: x_0 = p x + q out, with p and q functions of α and σ. Conversions, the
training target and guidance follow from p and q alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, TypeVar

from torch import Tensor

from integrand.solvers.options import require_positive

from .processes import Process

Number = TypeVar("Number", float, Tensor)
"""α and σ as floats, or as tensors that broadcast against x."""


class Parametrisation(ABC):
    """One reading of a network's output."""

    name: ClassVar[str]
    scales_input: ClassVar[bool] = False
    """Whether the network sees x multiplied by `input_scale`; else it sees x."""
    needs_signal: ClassVar[bool] = False
    """Whether the output says nothing of x_0 where α = 0."""

    @abstractmethod
    def coefficients(self, alpha: Number, sigma: Number) -> tuple[Number, Number]:
        """P and q of x_0 = p x + q out."""

    def target(self, x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """What the network should return for x = α x_0 + σ noise; all shapes broadcast."""
        p, q = self.coefficients(alpha, sigma)
        return (x0 - p * (alpha * x0 + sigma * noise)) / q

    def input_scale(self, alpha: Number, sigma: Number) -> Number:
        """What x is multiplied by before the network sees it."""
        return alpha * 0 + 1

    def label(self, process: Process, t: Tensor) -> Tensor:
        """What the network is told of t."""
        return process.label(t)


class NoisePrediction(Parametrisation):
    """ε: x_0 = (x − σ ε)/α (Ho et al. 2020). Says nothing of x_0 where α = 0."""

    name = "noise"
    needs_signal = True

    def coefficients(self, alpha: Number, sigma: Number) -> tuple[Number, Number]:
        """See `Parametrisation`."""
        return 1 / alpha, -sigma / alpha

    def target(self, x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """The noise."""
        return noise


class DataPrediction(Parametrisation):
    """x_0 itself."""

    name = "data"

    def coefficients(self, alpha: Number, sigma: Number) -> tuple[Number, Number]:
        """See `Parametrisation`."""
        return alpha * 0, alpha * 0 + 1

    def target(self, x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """The data."""
        return x0


class VelocityPrediction(Parametrisation):
    """v = α ε − σ x_0, so x_0 = (α x − σ v)/(α² + σ²) (Salimans & Ho 2022, App. D, for any α and σ)."""

    name = "v"

    def coefficients(self, alpha: Number, sigma: Number) -> tuple[Number, Number]:
        """See `Parametrisation`."""
        norm = alpha * alpha + sigma * sigma
        return alpha / norm, -sigma / norm

    def target(self, x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """α ε − σ x_0."""
        return alpha * noise - sigma * x0


class FlowPrediction(Parametrisation):
    """u = ε − x_0, so x_0 = (x − σ u)/(α + σ): the velocity dx/dt of `LinearFlow` (Lipman et al. 2023)."""

    name = "flow"

    def coefficients(self, alpha: Number, sigma: Number) -> tuple[Number, Number]:
        """See `Parametrisation`."""
        return 1 / (alpha + sigma), -sigma / (alpha + sigma)

    def target(self, x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """ε − x_0."""
        return noise - x0


class ScorePrediction(Parametrisation):
    """∇ log p_t(x) = −ε/σ, so x_0 = (x + σ² s)/α (Song et al. 2021)."""

    name = "score"
    needs_signal = True

    def coefficients(self, alpha: Number, sigma: Number) -> tuple[Number, Number]:
        """See `Parametrisation`."""
        return 1 / alpha, sigma * sigma / alpha

    def target(self, x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """−ε/σ, whose mean given x is the score."""
        return -noise / sigma


class EDMPreconditioning(Parametrisation):
    """F of D(y; ρ) = c_skip y + c_out F(c_in y; c_noise), y = x/α, ρ = σ/α (Karras et al. 2022, Table 1).

    Args:
        sigma_data: Standard deviation of the data.
    """

    name = "edm"
    scales_input = True

    def __init__(self, sigma_data: float = 0.5) -> None:
        require_positive(sigma_data=sigma_data)
        self.sigma_data = sigma_data

    def coefficients(self, alpha: Number, sigma: Number) -> tuple[Number, Number]:
        """c_skip/α and c_out."""
        # both multiplied through by α, so that α = 0 needs no special case
        scaled = self.sigma_data * alpha
        norm = sigma * sigma + scaled * scaled
        return scaled * self.sigma_data / norm, sigma * self.sigma_data / norm**0.5

    def input_scale(self, alpha: Number, sigma: Number) -> Number:
        """c_in/α."""
        scaled = self.sigma_data * alpha
        scale: Number = 1 / (sigma * sigma + scaled * scaled) ** 0.5
        return scale

    def label(self, process: Process, t: Tensor) -> Tensor:
        """c_noise = ¼ ln ρ."""
        return -0.25 * process.log_snr(t)


def convert(
    output: Tensor,
    x: Tensor,
    source: Parametrisation,
    target: Parametrisation,
    alpha: Number,
    sigma: Number,
) -> Tensor:
    """A network's output at x, read as another parametrisation's output.

    Args:
        output: Output in `source`, shape of x.
        x: Noisy state, shape (batch, ...).
        source: Parametrisation of `output`.
        target: Parametrisation wanted.
        alpha: α, a float or broadcastable to x.
        sigma: σ, likewise; not zero unless `target` is the data.
    """
    if same(source, target):
        return output
    p, q = source.coefficients(alpha, sigma)
    p_to, q_to = target.coefficients(alpha, sigma)
    scaled, factor = ((p - p_to) / q_to) * x, q / q_to
    # a float is multiplied in the same pass
    return scaled + factor * output if isinstance(factor, Tensor) else scaled.add(output, alpha=factor)


def same(a: Parametrisation, b: Parametrisation) -> bool:
    """Whether both read an output alike."""
    return type(a) is type(b) and vars(a) == vars(b)
