"""Evaluating a model for a sampler: guidance, constraints, and an exact count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .constraints import DataConstraint
from .denoiser import Denoising, Told, expand_time
from .errors import GuidanceError
from .guidance import Guidance, as_guidance
from .parametrisations import DataPrediction
from .prediction import Prediction
from .processes import Node

_DATA = DataPrediction()


class Evaluator:
    """A model as samplers call it.

    NFE counts network evaluations per sample: a guided evaluation, one call on twice the batch, counts 2.

    Args:
        denoiser: The model.
        condition: Condition of each sample, shape (batch, ...): class numbers, vectors or embeddings; None
            for an unconditional model, or to sample a conditional one with its null condition.
        guidance: Classifier-free guidance, or its weight w; None or 1 is the plain conditional model.
        constraint: What to do to the predicted x_0.

    Raises:
        GuidanceError: The model does not know conditions, or lacks what guidance needs.
    """

    def __init__(
        self,
        denoiser: Denoising,
        condition: Tensor | None = None,
        guidance: float | Guidance | None = None,
        constraint: DataConstraint | None = None,
    ) -> None:
        self.denoiser, self.condition, self.constraint = denoiser, condition, constraint
        self.guidance = as_guidance(guidance)
        self.calls, self.nfe = 0, 0
        """Calls so far, and network evaluations per sample."""
        _check_guidance(denoiser, condition, guidance)
        self._both: Tensor | None = None
        self._told: dict[float, Told] = {}
        if condition is None and denoiser.conditional:
            _null(denoiser)
        if self.guidance is not None and condition is not None:
            null = _null(denoiser)
            if isinstance(null, Tensor):
                nulls = null.to(condition).expand_as(condition)
            else:
                nulls = torch.full_like(condition, null)
            self._both = torch.cat((condition, nulls))

    @property
    def per_call(self) -> int:
        """Network evaluations per sample of one call, at most."""
        return 1 if self.guidance is None else 2

    def foresee(self, nodes: Sequence[Node], x: Tensor) -> None:
        """Work out at once what the model is told at times that will come, for states such as x."""
        told = getattr(self.denoiser, "told", None)
        if told is not None:
            self._told = dict(zip((node.t for node in nodes), told(nodes, x), strict=True))

    def __call__(self, x: Tensor, node: Node) -> Prediction:
        """Evaluate at x, shape (batch, ...), and one time."""
        told = self._told.get(node.t)
        if told is None or told.t.shape[0] != x.shape[0]:  # len() of a tensor costs as much as an operation
            return self.at(x, expand_time(node.t, x), node)
        return self.at(x, told.t, node, told)

    def at(self, x: Tensor, t: Tensor, node: Node, told: Told | None = None) -> Prediction:
        """Evaluate at times t, shape (batch,), all equal to node.t, of which the model may be `told`.

        Raises:
            GuidanceError: There is not one condition for each sample.
        """
        if self.condition is not None and len(self.condition) != len(x):
            raise GuidanceError(
                f"{len(self.condition)} conditions for {len(x)} samples", "pass one condition for each sample"
            )
        self.calls += 1
        prediction = Prediction(self._output(x, t, node, told), x, self.denoiser.parametrisation, node)
        if self.constraint is None:
            return prediction
        return Prediction(self.constraint(prediction.data()), x, _DATA, node)

    def _output(self, x: Tensor, t: Tensor, node: Node, told: Told | None) -> Tensor:
        """The output in the dtype of x."""
        guidance = self.guidance
        # a model that does not foresee is called by the protocol alone
        known: dict[str, Any] = {} if told is None else {"told": told}
        if guidance is not None and self._both is not None and guidance.acts(node):
            self.nfe += 2
            if told is not None:
                known = {"told": told._replace(label=torch.cat((told.label, told.label)))}
            twice = self.denoiser(torch.cat((x, x)), torch.cat((t, t)), self._both, **known).to(x.dtype)
            return guidance.combined(*twice.chunk(2))
        self.nfe += 1
        if not self.denoiser.conditional:
            return self.denoiser(x, t, **known).to(x.dtype)
        condition = _nulls(self.denoiser, x) if self.condition is None else self.condition
        return self.denoiser(x, t, condition, **known).to(x.dtype)


def _null(denoiser: Denoising) -> int | Tensor:
    null: int | Tensor | None = getattr(denoiser, "null", None)
    if null is None:
        raise GuidanceError(
            "the model was trained without a null condition",
            "pass a condition and no guidance, or train it with dropped conditions and set null",
        )
    return null


def _nulls(denoiser: Denoising, x: Tensor) -> Tensor:
    """The null condition for each sample of a state."""
    null = _null(denoiser)
    if isinstance(null, Tensor):
        return null.to(x.device).expand(len(x), *null.shape)
    return torch.full((len(x),), null, dtype=torch.long, device=x.device)


def _check_guidance(denoiser: Denoising, condition: Tensor | None, guidance: float | Guidance | None) -> None:
    asked = "a condition"
    if guidance is not None:
        asked = (
            f"guidance {guidance.describe()}" if isinstance(guidance, Guidance) else f"guidance={guidance:g}"
        )
    if not denoiser.conditional and (condition is not None or guidance is not None):
        raise GuidanceError(
            f"{asked} was asked for, but the model is unconditional",
            "remove it, or use a model trained with conditions",
        )
    if guidance is not None and condition is None:
        raise GuidanceError(f"{asked} without a condition", "pass the condition of each sample")
