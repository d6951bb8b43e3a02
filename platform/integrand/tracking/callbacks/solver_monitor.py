"""What the solves cost and how they fared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from integrand.solvers import SolveStats

from .base import TrackingCallback, gathered, is_due, step_of

_EXTREMES = ("min_step", "max_step", "stiffness")
"""What is not summed over batches and processes."""


@dataclass
class Account:
    """Sums over the solves of an epoch; of step sizes and stiffness the extremes are kept."""

    batches: int = 0
    nfe_forward: int = 0
    nfe_backward: int = 0
    nfe_diffusion: int = 0
    nfe_diffusion_backward: int = 0
    vjps: int = 0
    accepted: int = 0
    rejected: int = 0
    failures: int = 0
    counted: int = 0
    min_step: float = float("inf")
    max_step: float = 0.0
    stiffness: float = 0.0

    def add(self, stats: list[SolveStats], failures: int) -> None:
        """Take up the solves of one batch."""
        self.batches += 1
        self.failures += failures
        for s in stats:
            self.nfe_forward += s.nfe_forward
            self.nfe_backward += s.nfe_backward
            self.nfe_diffusion += s.nfe_diffusion
            self.nfe_diffusion_backward += s.nfe_diffusion_backward
            self.vjps += s.vjps
            if s.accepted is not None:
                self.counted += 1
                self.accepted += s.accepted
                self.rejected += s.rejected or 0
            if s.min_step is not None and s.min_step < self.min_step:
                self.min_step = s.min_step
            if s.max_step is not None and s.max_step > self.max_step:
                self.max_step = s.max_step
            if s.stiffness is not None and s.stiffness > self.stiffness:
                self.stiffness = s.stiffness

    def merged(self, trainer: Trainer) -> Account:
        """The account over all processes: an evaluation on one process's batch counts one."""
        counts = [name for name in self.__dataclass_fields__ if name not in _EXTREMES]
        rows = gathered(trainer, [float(getattr(self, n)) for n in (*counts, *_EXTREMES)])
        columns = list(zip(*rows, strict=True))
        total = Account(**{name: int(sum(column)) for name, column in zip(counts, columns, strict=False)})
        total.min_step, total.max_step, total.stiffness = (
            min(columns[-3]),
            max(columns[-2]),
            max(columns[-1]),
        )
        return total

    def means(self) -> dict[str, float]:
        """Mean per batch of every count that the solver reported, and the extreme steps."""
        n = max(self.batches, 1)
        values = {
            "nfe_forward": self.nfe_forward / n,
            "nfe_backward": self.nfe_backward / n,
            "vjps": self.vjps / n,
            "failures": self.failures / n,
        }
        if self.nfe_diffusion:
            values["nfe_diffusion"] = self.nfe_diffusion / n
            values["nfe_diffusion_backward"] = self.nfe_diffusion_backward / n
        if self.counted:
            values |= {"accepted": self.accepted / n, "rejected": self.rejected / n}
        if self.max_step > 0:
            values |= {"min_step": self.min_step, "max_step": self.max_step}
        if self.stiffness > 0:
            values["stiffness"] = self.stiffness
        return values


class SolverMonitor(TrackingCallback):
    """Records evaluations of the field, accepted and rejected steps, step sizes and failed solves.

    It reads `pl_module.solve_stats`, the accounts of the solves since the batch began, after the backward
    pass has filled in its part. From a stiffness of about 0.8 on, stability and not accuracy bounds
    the steps. `solver/…` are means per batch of a training epoch, `solver/val_…` and
    `solver/test_…` of an evaluation, `solver/…_step` belong to one training step, `solver/…_total` count
    since the run began.
    """

    def __init__(self) -> None:
        self._epoch = Account()
        self._evaluation = Account()
        self._total = {"nfe_forward": 0, "nfe_backward": 0}

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the epoch's account."""
        self._epoch = Account()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take up one training batch."""
        stats = getattr(pl_module, "solve_stats", None)
        if not stats:
            return
        self._epoch.add(stats, int(getattr(pl_module, "solve_failures", 0)))
        tracker = self.tracker
        if tracker is not None and is_due(trainer, tracker):
            values = {
                "solver/nfe_forward_step": float(sum(s.nfe_forward for s in stats)),
                "solver/nfe_backward_step": float(sum(s.nfe_backward for s in stats)),
            }
            tracker.epoch = trainer.current_epoch
            tracker.log_metrics(values, step_of(trainer))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the epoch."""
        account = self._epoch.merged(trainer)
        if self.tracker is None or not account.batches:
            return
        self._total["nfe_forward"] += account.nfe_forward
        self._total["nfe_backward"] += account.nfe_backward
        values = {f"solver/{name}": value for name, value in account.means().items()}
        values |= {f"solver/{name}_total": float(value) for name, value in self._total.items()}
        self.tracker.epoch = trainer.current_epoch
        self.tracker.log_metrics(values, step_of(trainer))

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the account of a validation."""
        self._evaluation = Account()

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the account of a test."""
        self._evaluation = Account()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take up one validation batch."""
        self._evaluated(pl_module)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take up one test batch."""
        self._evaluated(pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the validation."""
        if not trainer.sanity_checking:
            self._record_evaluation(trainer, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the test."""
        self._record_evaluation(trainer, "test")

    def state_dict(self) -> dict[str, Any]:
        """The totals, so that a resumed fit goes on counting."""
        return {"total": dict(self._total)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the totals."""
        self._total = dict(state_dict["total"])

    def _evaluated(self, pl_module: LightningModule) -> None:
        stats = getattr(pl_module, "solve_stats", None)
        if stats:
            self._evaluation.add(stats, int(getattr(pl_module, "solve_failures", 0)))

    def _record_evaluation(self, trainer: Trainer, stage: str) -> None:
        account = self._evaluation.merged(trainer)
        if self.tracker is None or not account.batches:
            return
        wanted = ("nfe_forward", "accepted", "rejected", "failures", "min_step")
        values = {
            f"solver/{stage}_{name}": value for name, value in account.means().items() if name in wanted
        }
        self.tracker.epoch = trainer.current_epoch
        self.tracker.log_metrics(values, step_of(trainer))
