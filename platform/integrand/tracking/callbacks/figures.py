"""Draws the figures of a run at its end."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from integrand.figures import (
    Picture,
    generated_figures,
    loss_figure,
    nfe_figure,
    step_figure,
    trajectory_figure,
)
from integrand.outcome import Outcome
from integrand.solvers import SolveStats
from integrand.tasks.base import Tally

from ..store import names
from .base import TrackingCallback
from .described import family_of, outcome_of
from .evaluating import evaluating

log = logging.getLogger(__name__)

_SAMPLES = 12


class Figures(TrackingCallback):
    """Stores `figures/*.png`: loss, NFE, step sizes of the last solve, trajectories, and those of the task.

    Those of the task, such as the confusion matrix, add up the outcomes of the last validation (or test)
    itself, so nothing is computed twice. What each figure shows stands in `figures/descriptions.json` and in
    the images' own metadata.
    """

    def __init__(self) -> None:
        self._tallies: Sequence[Tally] = ()
        self._examples: Outcome | None = None
        self._last: SolveStats | None = None
        self._descriptions: dict[str, str] = {}

    # ------------------------------------------------------------------ what an evaluation gave

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to add up."""
        self._begin(pl_module)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to add up."""
        self._begin(pl_module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take up one batch."""
        self._see(outcome_of(outputs))

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take up one batch."""
        self._see(outcome_of(outputs))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take in what the other processes have seen."""
        self._merge(trainer)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take in what the other processes have seen."""
        self._merge(trainer)

    def _begin(self, pl_module: LightningModule) -> None:
        family = family_of(pl_module)
        self._tallies = () if family is None else family.task.tallies()

    def _see(self, outcome: Outcome | None) -> None:
        if outcome is None:
            return
        for tally in self._tallies:
            tally.see(outcome)
        if outcome.solves:
            self._last = outcome.solves[-1]
        held = 0 if self._examples is None else self._examples.size
        if isinstance(outcome.inputs, Tensor) and held != min(_SAMPLES, outcome.size):
            self._examples = _first(outcome, outcome.inputs)

    def _merge(self, trainer: Trainer) -> None:
        if trainer.world_size == 1:
            return

        def total(part: Tensor) -> Tensor:
            whole: Tensor = trainer.strategy.reduce(part, reduce_op="sum")
            return whole

        for tally in self._tallies:
            tally.merge(total)

    # ------------------------------------------------------------------ drawing

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw everything."""
        if self.tracker is not None and self.tracker.session is not None:
            for pictures in (self._curves(), self._steps(), self._trajectories(pl_module)):
                self._store(pictures)
            self._draw_evaluation(pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw what the test gave."""
        if self.tracker is not None and self.tracker.session is not None:
            self._draw_evaluation(pl_module, "test")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draw the curves of a run that failed; a killed one has no time for that."""
        if (
            isinstance(exception, Exception)
            and self.tracker is not None
            and self.tracker.history.series("train/loss")
        ):
            self._store(self._curves())

    def _draw_evaluation(self, pl_module: LightningModule, stage: str) -> None:
        for tally in self._tallies:
            self._store(tally.draw(stage))
        self._store(self._generated(pl_module, stage))

    def _store(self, pictures: Iterable[Picture | None]) -> None:
        tracker = self.tracker
        try:
            for picture in pictures:
                if picture is None or tracker is None:
                    continue
                path = f"{names.FIGURE_DIR}/{picture.name}.png"
                tracker.log_bytes(picture.png, path)
                self._descriptions[path] = picture.description
                if path not in tracker.record.figures:
                    tracker.record.figures.append(path)
        except Exception as error:
            # a figure that cannot be drawn must not fail a run that has trained
            log.warning("tracking: a figure was not drawn (%r)", error)
        if tracker is not None and self._descriptions:
            text = json.dumps(self._descriptions, indent=1, ensure_ascii=False)
            tracker.log_text(text, f"{names.FIGURE_DIR}/descriptions.json")

    def _curves(self) -> Iterable[Picture | None]:
        if self.tracker is not None:
            series = self.tracker.history.thinned()
            yield loss_figure(series)
            yield nfe_figure(series)

    def _steps(self) -> Iterable[Picture | None]:
        if self._last is not None:
            yield step_figure(self._last.step_sizes or [], self._last.solver)

    def _generated(self, pl_module: LightningModule, stage: str) -> Iterable[Picture | None]:
        family = family_of(pl_module)
        if family is not None:
            with torch.random.fork_rng([pl_module.device] if pl_module.device.type == "cuda" else []):
                yield from generated_figures(family.pictures(stage), stage)

    def _trajectories(self, pl_module: LightningModule) -> Iterable[Picture | None]:
        family, examples = family_of(pl_module), self._examples
        if family is None or examples is None or not isinstance(examples.inputs, Tensor):
            return
        with evaluating(pl_module):
            traced = family.trajectory(examples.inputs.to(pl_module.device))
        if traced is not None:
            labels = examples.target
            if labels is not None and (labels.ndim != 1 or labels.is_floating_point()):
                labels = None
            yield trajectory_figure(
                traced[1].detach().float().cpu().numpy(), None if labels is None else labels.cpu().numpy()
            )


def _first(outcome: Outcome, inputs: Tensor) -> Outcome:
    """Inputs and targets of the first samples, copied."""
    target = None if outcome.target is None else outcome.target[:_SAMPLES].detach().clone()
    inputs = inputs[:_SAMPLES].detach().clone()
    return Outcome({}, min(_SAMPLES, outcome.size), target=target, inputs=inputs)
