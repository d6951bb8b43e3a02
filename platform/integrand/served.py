"""What `mlflow models serve` runs: arrays of inputs to predictions of a network.

MLflow copies this file into the model and runs it there by itself, so its imports name their packages.
"""

from __future__ import annotations

from typing import Any

import mlflow
import numpy as np
import torch

from integrand.modules.family import FamilyModule
from integrand.modules.from_checkpoint import network


class Served(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # MLflow is untyped
    """A network of a checkpoint behind MLflow's contract."""

    def load_context(self, context: Any) -> None:
        """Read the checkpoint; whoever registered the model trusts it."""
        path = context.artifacts["checkpoint"]
        self.network = network(FamilyModule, path, {}, trust=True, strict=True)[0].eval()

    # without hints, which MLflow would check inputs by
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """Predictions as `integrand predict` has them: probabilities of classes, targets in their units.

        Args:
            context: Not used.
            model_input: Inputs as a batch holds them, shape (batch, …).
            params: Not used.
        """
        return answered(self.network, np.asarray(model_input))


def answered(model: FamilyModule, inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What a network says of inputs, as users want it.

    Args:
        model: In evaluation mode.
        inputs: Shape (batch, …).
    """
    x = torch.as_tensor(np.ascontiguousarray(inputs), dtype=torch.float32)
    with torch.set_grad_enabled(model.needs_grad_at_eval):
        outcome = model.respond(x)
    assert outcome.prediction is not None
    said: np.ndarray[Any, Any] = model.task.answer(outcome.prediction.detach()).numpy()
    return said


mlflow.models.set_model(Served())
