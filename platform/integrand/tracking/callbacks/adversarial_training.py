"""Training on attacked batches."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.nn import functional as F

from integrand.datamodules.images.base import ImageDataModule
from integrand.errors import UsageError
from integrand.evaluations.attacks import Ball, Norm, pgd
from integrand.modules.family import FamilyModule
from integrand.tasks.classification import Classification


class AdversarialTraining(Callback):
    """Replaces every training batch by one that projected gradient ascent made of it (Madry et al. 2018).

    The attack sees the network in evaluation mode, so that the statistics of its norms and its noise are
    those of the training step alone; one draw is taken where answers are random. Its forward passes cost
    `solver/nfe_attack` evaluations a batch, beside `solver/nfe_forward` of the step.

    Args:
        eps: Radius of the ball, of pixels in [0, 1].
        norm: `linf` or `l2`.
        steps: Steps of the attack.
        step_size: Length of a step; by default 2.5 eps/steps.
        share: Share of each batch that is attacked.

    Raises:
        UsageError: A number is out of its domain.
    """

    def __init__(
        self,
        eps: float = 8 / 255,
        norm: Norm = "linf",
        steps: int = 10,
        step_size: float | None = None,
        share: float = 1.0,
    ) -> None:
        if steps < 1 or not 0 < share <= 1:
            raise UsageError(f"steps={steps}, share={share} attack nothing", "give steps ≥ 1, 0 < share ≤ 1")
        self.ball = Ball(norm, eps)
        self.steps, self.step_size, self.share = steps, step_size, share

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse what cannot be attacked.

        Raises:
            UsageError: The model does not classify, or the data are no images.
        """
        data = getattr(trainer, "datamodule", None)
        classifies = isinstance(pl_module, FamilyModule) and isinstance(pl_module.task, Classification)
        if not classifies or not isinstance(data, ImageDataModule):
            raise UsageError(
                f"AdversarialTraining attacks classifiers of images, not {type(pl_module).__name__} on "
                f"{type(data).__name__}",
                "take the callback out",
            )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Attack the batch in place."""
        assert isinstance(pl_module, FamilyModule)
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        x, y = batch
        n = max(1, round(self.share * len(x)))
        evaluations: list[float] = []

        def loss(pixels: Tensor, truth: Tensor) -> Tensor:
            draws, solves = pl_module.draws(data.scaled(pixels), 1)
            evaluations.append(float(sum(stats.nfe_forward for stats in solves)))
            return F.cross_entropy(pl_module.task.pool(draws), truth, reduction="none")

        training = [module for module in pl_module.modules() if module.training]
        pl_module.eval()
        try:
            pixels = data.denormalise(x[:n])
            made = pgd(loss, pixels, y[:n], self.ball, self.steps, self.step_size)
        finally:
            for module in training:
                module.training = True
        with torch.no_grad():
            x[:n] = data.scaled(made.x)
        pl_module.log("solver/nfe_attack", sum(evaluations), on_step=False, on_epoch=True, batch_size=n)
