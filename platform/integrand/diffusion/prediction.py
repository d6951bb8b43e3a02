"""One evaluation of a denoiser, readable as noise, data, v or score."""

from __future__ import annotations

from torch import Tensor

from .parametrisations import (
    DataPrediction,
    NoisePrediction,
    Parametrisation,
    ScorePrediction,
    VelocityPrediction,
    convert,
)
from .processes import Node

_NOISE, _DATA, _V, _SCORE = NoisePrediction(), DataPrediction(), VelocityPrediction(), ScorePrediction()


class Prediction:
    """What a model says at one state and time.

    Args:
        output: The model's output, shape (batch, ...).
        x: The state it was evaluated at, shape (batch, ...).
        parametrisation: How to read the output.
        node: The time it was evaluated at.
    """

    __slots__ = ("node", "output", "parametrisation", "x")

    def __init__(self, output: Tensor, x: Tensor, parametrisation: Parametrisation, node: Node) -> None:
        self.output, self.x, self.parametrisation, self.node = output, x, parametrisation, node

    def as_(self, target: Parametrisation) -> Tensor:
        """The prediction in another parametrisation, shape of x."""
        return convert(self.output, self.x, self.parametrisation, target, self.node.alpha, self.node.sigma)

    def noise(self) -> Tensor:
        """ε."""
        return self.as_(_NOISE)

    def data(self) -> Tensor:
        """x_0."""
        return self.as_(_DATA)

    def v(self) -> Tensor:
        """V = α ε − σ x_0."""
        return self.as_(_V)

    def score(self) -> Tensor:
        """∇ log p_t(x)."""
        return self.as_(_SCORE)
