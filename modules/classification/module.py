"""The LightningModule of every image classifier: cross-entropy and accuracy around a `ClassifierNet`."""

from __future__ import annotations

import copy
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
from .layout import DynamicsMaker, Layout, SharedLayout
from .net import check_images
from .noise import Noise
from .stages import stages_of

_STAGES = ("train", "val", "test")


class ImageClassifier(FamilyModule):
    """Image classification with a shared stem and head; a family supplies the dynamics between them.

    Args:
        spec: What the data set publishes; the command line fills it in.
        dynamics: The family's own part, on a state of `channels` channels; or what makes it for a `Stage`,
            which lets the family be used with every layout.
        channels: Channels of the hidden state.
        downsample: Number of halvings in the stem; by default as many as bring the side to 8 pixels or fewer.
        noise: Noise that regularises the dynamics, such as `StochasticDepth`; none by default.
        optimizer: Makes the optimiser from the parameters; default Adam with lr 1e-3.
        lr_scheduler: Makes the learning-rate schedule from the optimiser, stepped once an epoch.
        layout: What surrounds the dynamics; by default the bench that all families share.

    Raises:
        SpecError: The data set is not an image classification set.
        UsageError: A number of channels or halvings is out of range, or the family takes no layout.
    """

    task: ClassVar[str] = "image-classification"
    monitor: ClassVar[str] = "val/acc"
    monitor_mode: ClassVar[str] = "max"

    def __init__(
        self,
        spec: DataSpec,
        dynamics: Dynamics | DynamicsMaker,
        channels: int,
        downsample: int | None = None,
        noise: Noise | None = None,
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=1e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
        layout: Layout | None = None,
    ) -> None:
        super().__init__(spec, optimizer, lr_scheduler)
        if layout is not None and isinstance(dynamics, Dynamics):
            raise UsageError(f"{type(self).__name__} has no other layout", "leave model.layout out")
        if layout is not None and downsample is not None:
            raise UsageError("downsample belongs to the shared layout", "set one of downsample and layout")
        made = dynamics
        self.net = (layout or SharedLayout(downsample)).assemble(
            spec, channels, (lambda _: made) if isinstance(made, Dynamics) else made
        )
        # a copy, because noise belongs to one network: it may hold weights, and it enters the dynamics
        self.noise = copy.deepcopy(noise)
        if self.noise is not None:
            self.noise.attach(self.net.dynamics, type(self).__name__)
            self.stochastic = self.stochastic or self.noise.stochastic
        self.accuracy = nn.ModuleDict(
            # nn.ModuleDict refuses the key "train", which is a method of nn.Module
            {f"{s}_acc": MulticlassAccuracy(spec.num_classes, average="micro") for s in _STAGES}
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape (batch, num_classes) for images of shape (batch, channels, height, width).

        Their mean over `passes` passes, each with an account of its own.
        """
        check_images(x, self.spec.input_shape, self.spec.name)
        number = self.passes
        total: Tensor | None = None
        for _ in range(number):
            logits, solution = self.net(x)
            self.solve_stats.append(solution.stats)
            if solution.failed is not None:
                self.solve_failures += int(solution.failed.sum())
            total = logits if total is None else total + logits
        assert total is not None
        return total if number == 1 else total / number

    @property
    def passes(self) -> int:
        """Passes through the network that one prediction averages, in the present mode."""
        return 1 if self.noise is None else self.noise.passes

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

    def shards(self) -> list[nn.Module]:
        """The whole network, and each block by itself where a pass evaluates every one of them once."""
        blocks: list[nn.Module] = []
        # noise may skip a block on one process alone, and a penalty reads weights outside of a forward pass
        if self.noise is None and type(self).penalty is ImageClassifier.penalty:
            for stage in stages_of(self.net.dynamics):
                if stage.composition in ("linear", "stages") and not stage.repeats:
                    blocks += stage.residuals()
        return [*blocks, self.net]

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
