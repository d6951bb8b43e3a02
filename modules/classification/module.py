"""The LightningModule of every image classifier: cross-entropy and accuracy around a `ClassifierNet`."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from integrand.errors import UsageError
from integrand.solvers import Solution
from integrand.spec import DataSpec

from ..base import FamilyModule
from .dynamics import Dynamics
from .net import ClassifierNet, Head, Stem, check_images, halvings

_STAGES = ("train", "val", "test")


class ImageClassifier(FamilyModule):
    """Image classification with a shared stem and head; a family supplies the dynamics between them.

    Args:
        spec: What the data set publishes; the command line fills it in.
        dynamics: The family's own part, on a state of `channels` channels.
        channels: Channels of the hidden state.
        downsample: Number of halvings in the stem; by default as many as bring the side to 8 pixels or fewer.
        optimizer: Makes the optimiser from the parameters; default Adam with lr 1e-3.
        lr_scheduler: Makes the learning-rate schedule from the optimiser, stepped once an epoch.

    Raises:
        SpecError: The data set is not an image classification set.
        UsageError: A number of channels or halvings is out of range.
    """

    task: ClassVar[str] = "image-classification"
    monitor: ClassVar[str] = "val/acc"
    monitor_mode: ClassVar[str] = "max"

    def __init__(
        self,
        spec: DataSpec,
        dynamics: Dynamics,
        channels: int,
        downsample: int | None = None,
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=1e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(spec, optimizer, lr_scheduler)
        in_channels, height, width = spec.input_shape
        steps = halvings(height, width) if downsample is None else downsample
        if not 0 <= steps < min(height, width).bit_length():
            raise UsageError(
                f"downsample={steps} does not fit images of {height}×{width}", "set model.downsample lower"
            )
        with torch.random.fork_rng(devices=[]):
            # the same seed gives every family the same stem, whatever its dynamics drew: a paired comparison
            torch.manual_seed(torch.initial_seed())
            stem, head = Stem(in_channels, channels, steps), Head(dynamics.out_channels, spec.num_classes)
        self.net = ClassifierNet(stem, dynamics, head)
        self.accuracy = nn.ModuleDict(
            # nn.ModuleDict refuses the key "train", which is a method of nn.Module
            {f"{s}_acc": MulticlassAccuracy(spec.num_classes, average="micro") for s in _STAGES}
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape (batch, num_classes) for images of shape (batch, channels, height, width)."""
        check_images(x, self.spec.input_shape, self.spec.name)
        logits, solution = self.net(x)
        self.solve_stats.append(solution.stats)
        result: Tensor = logits
        return result

    def step(self, batch: tuple[Tensor, Tensor], stage: str) -> Tensor:
        """Cross-entropy of a batch (images, labels), in training plus `penalty`; logs loss and accuracy.

        The logged loss is the cross-entropy alone, so that it compares between families and stages.
        """
        x, y = batch
        logits = self(x)
        loss = F.cross_entropy(logits, y)
        accuracy = cast(MulticlassAccuracy, self.accuracy[f"{stage}_acc"])
        accuracy.update(logits, y)
        n, shown = len(y), stage != "test"
        self.log(
            f"{stage}/loss", loss, on_step=False, on_epoch=True, batch_size=n, sync_dist=True, prog_bar=shown
        )
        self.log(f"{stage}/acc", accuracy, on_step=False, on_epoch=True, batch_size=n, prog_bar=shown)
        if stage == "train":
            for name, term in self.penalty().items():
                self.log(
                    f"train/{name}", term, on_step=False, on_epoch=True, batch_size=len(y), sync_dist=True
                )
                loss = loss + term
        return loss

    def penalty(self) -> dict[str, Tensor]:
        """Extra terms of the training loss by name, weights included; called once after each training batch.

        Logged as `train/<name>`. None by default; evaluation never sees them.
        """
        return {}

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Class probabilities of shape (batch, num_classes)."""
        self.solve_stats = []
        return torch.softmax(self(batch[0]), dim=-1)

    def trajectory(self, x: Tensor, num_times: int = 33) -> tuple[Tensor, Tensor]:
        """Times (n_t,) and hidden states (n_t, batch, channels, height, width) for figures."""
        solution: Solution = self.net.trajectory(x, num_times)
        return solution.ts, solution.ys

    def describe_solver(self) -> tuple[str, str]:
        """Solver and gradient mode in a few words."""
        solver = self.net.dynamics.solver
        return (solver.describe(), getattr(solver, "gradient", "backprop")) if solver else ("", "")
