"""What every family shares: declared properties, injected optimisers and the account of its solves."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from typing import Any, ClassVar

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from torch import Tensor

from integrand.errors import SpecError
from integrand.solvers import SolveStats
from integrand.spec import DataSpec

from .means import weigh_exactly
from .sharded import Shardable


class FamilyModule(Shardable):
    """A family of networks read as differential equations, ready to train.

    Subclasses with a non-empty `family` are registered: they get a short name on the command line, a row in
    `integrand families`, and are run through the conformance suite, which checks the declarations below.

    Args:
        spec: What the data set publishes; the command line fills it in.
        optimizer: Makes the optimiser from the parameters; default Adam with lr 1e-3.
        lr_scheduler: Makes the learning-rate schedule from the optimiser, stepped once an epoch.

    Raises:
        SpecError: The data set's task is not this family's task.
    """

    family: ClassVar[str] = ""
    """Slug such as `neural-ode`; empty on abstract bases."""
    title: ClassVar[str] = ""
    """The field's name for the family."""
    group: ClassVar[str] = ""
    """`control`, `discrete`, `continuous`, `stochastic` or `generative`."""
    task: ClassVar[str] = ""
    """The `DataSpec.task` that the family solves."""
    also: ClassVar[tuple[str, ...]] = ()
    """Tasks whose data sets it takes besides, such as images by a generative family."""
    equation: ClassVar[str] = ""
    """The equation in one line, in the symbols of the reference."""
    reference: ClassVar[str] = ""
    """Author, year, and equation number."""
    uses_solver: ClassVar[bool] = False
    """Whether a configurable solver integrates it."""
    stochastic: bool = False
    """Whether two evaluations in training mode may differ; with noise the network's own attribute says so."""
    reversible: ClassVar[bool] = False
    """Whether inputs are recomputed from outputs in the backward pass."""
    skips_parameters: ClassVar[bool] = False
    """Whether a training batch may leave out parts of the network; DDP then has to look for them."""
    needs_grad_at_eval: ClassVar[bool] = False
    """Whether evaluation differentiates (energies, scores, divergences): inference mode is then off."""
    monitor: ClassVar[str] = "val/loss"
    """The metric that chooses the best checkpoint."""
    monitor_mode: ClassVar[str] = "min"
    """Whether the best is the smallest (`min`) or the largest (`max`)."""

    def __init__(
        self,
        spec: DataSpec,
        # the papers of the neural ODE family use Adam at 1e-3; a lambda, so that the command line can read it
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=1e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        if spec.task not in (self.task, *self.also):
            raise SpecError(
                f"{type(self).__name__} is for {self.task}, but the data set {spec.name} is for {spec.task}",
                "choose a family of that task: integrand families",
            )
        self.spec = spec
        # kept as attributes: under LightningCLI `self.hparams` would hold their configuration instead
        self._make_optimizer = optimizer
        self._make_lr_scheduler = lr_scheduler
        self.solve_stats: list[SolveStats] = []
        """Accounts of the solves made since the current batch began; the backward part fills itself in."""
        self.solve_failures = 0
        """Samples whose solve failed since then, where the solver was told to go on without them."""

    @abstractmethod
    def step(self, batch: Any, stage: str) -> Tensor:
        """The loss of one batch, with the metrics of `stage` (`train`, `val` or `test`) logged.

        Args:
            batch: A batch as the data module yields it.
            stage: Which metrics to log.

        Returns:
            The loss, a 0-d tensor.
        """

    def log(self, name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        """Log a value; see `LightningModule.log`. Means over several processes are exact."""
        super().log(name, value, *args, **kwargs)
        if self._trainer is not None and self._trainer.world_size > 1:
            weigh_exactly(self._trainer)

    def on_fit_start(self) -> None:
        """Give each process random numbers of its own.

        Lightning seeds them all alike, for equal weights; they would then draw the same noise for different
        data. The first keeps the numbers that a single process has.
        """
        if self.global_rank > 0:
            key = f"process {self.global_rank}:{torch.initial_seed()}"
            torch.manual_seed(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """One training batch; see `step`."""
        return self._accounted(batch, "train")

    def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
        """One validation batch; see `step`."""
        return self._accounted(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> Tensor:
        """One test batch; see `step`."""
        return self._accounted(batch, "test")

    def _accounted(self, batch: Any, stage: str) -> Tensor:
        self.solve_stats = []
        self.solve_failures = 0
        return self.step(batch, stage)

    def configure_optimizers(self) -> Any:
        """The injected optimiser and schedule."""
        optimizer = self._make_optimizer([p for p in self.parameters() if p.requires_grad])
        if self._make_lr_scheduler is None:
            return optimizer
        scheduler = self._make_lr_scheduler(optimizer)
        entry: dict[str, Any] = {"scheduler": scheduler, "interval": "epoch"}
        if isinstance(scheduler, ReduceLROnPlateau):
            entry["monitor"] = scheduler.monitor
        return {"optimizer": optimizer, "lr_scheduler": entry}

    def describe_solver(self) -> tuple[str, str]:
        """Solver and gradient mode in a few words; empty strings where no solver integrates the family."""
        return "", ""

    @classmethod
    def properties(cls) -> dict[str, Any]:
        """The declared properties by name, for listings."""
        return {
            "uses_solver": cls.uses_solver,
            "stochastic": cls.stochastic,
            "reversible": cls.reversible,
            "needs_grad_at_eval": cls.needs_grad_at_eval,
        }
