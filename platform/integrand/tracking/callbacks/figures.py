"""Draws the figures of a run at its end."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from ...figures import (
    Picture,
    confusion_figure,
    generated_figures,
    loss_figure,
    nfe_figure,
    step_figure,
    trajectory_figure,
)
from ..store import names
from .base import TrackingCallback
from .evaluating import evaluating

log = logging.getLogger(__name__)

_SAMPLES = 12


class Figures(TrackingCallback):
    """Stores `figures/*.png`: loss, NFE, step sizes of the last solve, confusion matrix, trajectories.

    The confusion matrix counts what the network said during the last validation (or test) itself, so
    nothing is computed twice. Trajectories are drawn if the module has `trajectory(x) -> (ts, ys)`. What
    each figure shows stands in `figures/descriptions.json` and in the images' own metadata.
    """

    def __init__(self) -> None:
        self._said: Tensor | None = None
        self._counts: Tensor | None = None
        self._examples: tuple[Tensor, Tensor | None] | None = None
        self._hook: Any = None
        self._descriptions: dict[str, str] = {}

    # ------------------------------------------------------------------ what the network said

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to listen."""
        self._listen(pl_module)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to listen."""
        self._listen(pl_module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count one batch."""
        self._count(batch)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count one batch."""
        self._count(batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop listening."""
        self._deafen(trainer)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop listening."""
        self._deafen(trainer)

    def _listen(self, pl_module: LightningModule) -> None:
        self._counts = self._said = None
        if self._hook is None and _num_classes(pl_module) > 0:
            classes = _num_classes(pl_module)

            def keep(module: Any, inputs: Any, output: Any) -> None:
                # DDP calls the module around the whole step: what comes out of that is a loss
                if isinstance(output, Tensor) and output.ndim == 2 and output.shape[1] == classes:
                    self._said = output

            self._hook = pl_module.register_forward_hook(keep)

    def _count(self, batch: Any) -> None:
        said, self._said = self._said, None
        if not isinstance(batch, list | tuple) or len(batch) < 2 or not isinstance(batch[0], Tensor):
            return
        x, y = batch[0], batch[1]
        labels = y if isinstance(y, Tensor) and y.ndim == 1 and not y.is_floating_point() else None
        if self._examples is None or len(self._examples[0]) != min(_SAMPLES, len(x)):
            self._examples = (
                x[:_SAMPLES].detach().clone(),
                None if labels is None else labels[:_SAMPLES].clone(),
            )
        if said is None or labels is None or len(labels) != len(said):
            return
        classes = said.shape[1]
        pairs = labels * classes + said.detach().argmax(dim=1)
        counts = torch.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
        self._counts = counts if self._counts is None else self._counts + counts

    def _deafen(self, trainer: Trainer) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        if trainer.world_size > 1 and self._counts is not None:
            self._counts = trainer.strategy.reduce(self._counts, reduce_op="sum")

    # ------------------------------------------------------------------ drawing

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw everything."""
        self._draw(pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the confusion matrix of the test."""
        if self.tracker is not None and self.tracker.session is not None:
            self._store(self._confusion(pl_module, "test"))
            self._store(self._generated(pl_module, "test"))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draw the curves of a run that failed; a killed one has no time for that."""
        if (
            isinstance(exception, Exception)
            and self.tracker is not None
            and self.tracker.history.series("train/loss")
        ):
            self._store(self._curves())

    def _draw(self, pl_module: LightningModule, stage: str) -> None:
        if self.tracker is None or self.tracker.session is None:
            return
        self._store(self._curves())
        self._store(self._confusion(pl_module, stage))
        self._store(self._steps(pl_module))
        self._store(self._trajectories(pl_module))
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

    def _confusion(self, pl_module: LightningModule, stage: str) -> Iterable[Picture | None]:
        if self._counts is not None:
            class_names = tuple(getattr(getattr(pl_module, "spec", None), "class_names", ()))
            yield confusion_figure(self._counts.cpu().numpy(), class_names, stage)

    def _steps(self, pl_module: LightningModule) -> Iterable[Picture | None]:
        for stats in getattr(pl_module, "solve_stats", [])[-1:]:
            yield step_figure(stats.step_sizes or [], stats.solver)

    def _generated(self, pl_module: LightningModule, stage: str) -> Iterable[Picture | None]:
        arrays = getattr(pl_module, "pictures", None)
        if callable(arrays):
            with torch.random.fork_rng([pl_module.device] if pl_module.device.type == "cuda" else []):
                yield from generated_figures(arrays(stage), stage)

    def _trajectories(self, pl_module: LightningModule) -> Iterable[Picture | None]:
        trace = getattr(pl_module, "trajectory", None)
        if not callable(trace) or self._examples is None:
            return
        x, labels = self._examples
        with evaluating(pl_module):
            _, states = trace(x.to(pl_module.device))
        yield trajectory_figure(
            states.detach().float().cpu().numpy(), None if labels is None else labels.cpu().numpy()
        )


def _num_classes(pl_module: LightningModule) -> int:
    return int(getattr(getattr(pl_module, "spec", None), "num_classes", 0) or 0)
