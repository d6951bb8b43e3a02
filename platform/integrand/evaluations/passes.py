"""A model over a split of its data, batch by batch, as evaluations see it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device

from integrand.modules.family import FamilyModule
from integrand.solvers import SolveStats

from ..outcome import Outcome


def batches(model: FamilyModule, data: Any, split: str = "test") -> Iterator[Any]:
    """The batches of a split in the order of the data set, on the device of the model.

    Args:
        model: A trained family in evaluation mode, on its device.
        data: Its data module.
        split: `val` or `test`.
    """
    data.prepare_data()
    data.setup({"val": "validate"}.get(split, split))
    for index, batch in enumerate(getattr(data, f"{split}_dataloader")()):
        moved = move_data_to_device(data.on_before_batch_transfer(batch, index), model.device)
        yield data.on_after_batch_transfer(moved, index)


def outcomes(model: FamilyModule, data: Any) -> Iterator[Outcome]:
    """The outcome of every test batch, in the order of the data set; nothing is logged.

    Args:
        model: A trained family in evaluation mode, on its device.
        data: Its data module.
    """
    # an energy differentiates in its forward pass
    with torch.set_grad_enabled(model.needs_grad_at_eval):
        for batch in batches(model, data):
            yield model.step(batch, "test")


@dataclass
class Tested:
    """What a pass over the test data gave.

    Args:
        scores: Loss, scores and metrics by name without stage.
        solves: All solves of the pass; empty where none was made.
        batches: Number of batches.
    """

    scores: dict[str, float]
    solves: SolveStats = field(default_factory=SolveStats)
    batches: int = 0

    def recorded(self) -> dict[str, float]:
        """The scores and means per batch of the solves under the names that `integrand test` records."""
        found = {f"final/test_{name}": value for name, value in self.scores.items()}
        if self.batches:
            found["solver/test_nfe_forward"] = self.solves.nfe_forward / self.batches
        return found


def tested(model: FamilyModule, data: Any) -> Tested:
    """Loss, scores, metrics and solves of the test data, as `integrand test` finds them."""
    sums: dict[str, float] = defaultdict(float)
    metrics: dict[str, Any] = {}
    solves: list[SolveStats] = []
    samples, batches = 0, 0
    for metric in model.task.metrics.values():
        metric.reset()  # type: ignore[operator]  # a torchmetrics.Metric
    for outcome in outcomes(model, data):
        first = next(iter(outcome.terms.values()))
        for name, value in {"loss": first, **outcome.scores}.items():
            sums[name] += outcome.size * float(value)
        metrics.update(model.task.observe("test", outcome))
        samples += outcome.size
        batches += 1
        solves += outcome.solves
    scores = {name: total / samples for name, total in sums.items()}
    scores |= {name: float(metric.compute()) for name, metric in metrics.items()}
    return Tested(scores, SolveStats.total(solves), batches if solves else 0)
