"""Evaluating a model for a sampler: guidance, constraints, and an exact count."""

from __future__ import annotations

import torch
from torch import Tensor

from .constraints import DataConstraint
from .denoiser import Denoising, expand_time
from .errors import GuidanceError
from .parametrisations import DataPrediction
from .prediction import Prediction
from .processes import Node

_DATA = DataPrediction()


class Evaluator:
    """A model as samplers call it.

    NFE counts network evaluations per sample: a guided evaluation, one call on twice the batch, counts 2.

    Args:
        denoiser: The model.
        condition: Condition of each sample, shape (batch,); None for an unconditional model, or to sample a
            conditional one with its null condition.
        guidance: Weight w of classifier-free guidance, out = null + w (conditional − null); None or 1 is the
            plain conditional model (Ho & Salimans 2022, with w there being w − 1 here).
        constraint: What to do to the predicted x_0.

    Raises:
        GuidanceError: The model does not know conditions, or lacks what guidance needs.
    """

    def __init__(
        self,
        denoiser: Denoising,
        condition: Tensor | None = None,
        guidance: float | None = None,
        constraint: DataConstraint | None = None,
    ) -> None:
        self.denoiser, self.condition, self.constraint = denoiser, condition, constraint
        self.guidance = None if guidance is None or guidance == 1 else float(guidance)
        self.calls = 0
        _check_guidance(denoiser, condition, guidance)
        self._both: Tensor | None = None
        if condition is None and denoiser.conditional:
            self._null: int | None = _null(denoiser)
        else:
            self._null = None
        if self.guidance is not None and condition is not None:
            self._both = torch.cat((condition, torch.full_like(condition, _null(denoiser))))

    @property
    def per_call(self) -> int:
        """Network evaluations per sample of one call."""
        return 1 if self.guidance is None else 2

    @property
    def nfe(self) -> int:
        """Network evaluations per sample so far."""
        return self.calls * self.per_call

    def __call__(self, x: Tensor, node: Node) -> Prediction:
        """Evaluate at x, shape (batch, ...), and one time."""
        return self.at(x, expand_time(node.t, x), node)

    def at(self, x: Tensor, t: Tensor, node: Node) -> Prediction:
        """Evaluate at times t, shape (batch,), all equal to node.t."""
        self.calls += 1
        parametrisation = self.denoiser.parametrisation
        prediction = Prediction(self._output(x, t).to(x.dtype), x, parametrisation, node)
        if self.constraint is None:
            return prediction
        return Prediction(self.constraint(prediction.data()), x, _DATA, node)

    def _output(self, x: Tensor, t: Tensor) -> Tensor:
        if self._both is not None:
            twice = self.denoiser(torch.cat((x, x)), torch.cat((t, t)), self._both)
            conditional, null = twice.chunk(2)
            assert self.guidance is not None
            return torch.lerp(null, conditional, self.guidance)
        if self.condition is not None:
            return self.denoiser(x, t, self.condition)
        if self._null is not None:
            condition = torch.full((len(x),), self._null, dtype=torch.long, device=x.device)
            return self.denoiser(x, t, condition)
        return self.denoiser(x, t)


def _null(denoiser: Denoising) -> int:
    null = getattr(denoiser, "null", None)
    if null is None:
        raise GuidanceError(
            "the model was trained without a null condition",
            "pass a condition and no guidance, or train it with dropped conditions and set null",
        )
    return int(null)


def _check_guidance(denoiser: Denoising, condition: Tensor | None, guidance: float | None) -> None:
    if not denoiser.conditional and (condition is not None or guidance is not None):
        what = "a condition" if guidance is None else f"guidance={guidance:g}"
        raise GuidanceError(
            f"{what} was asked for, but the model is unconditional",
            "remove it, or use a model trained with conditions",
        )
    if guidance is not None and condition is None:
        raise GuidanceError(f"guidance={guidance:g} without a condition", "pass the condition of each sample")
