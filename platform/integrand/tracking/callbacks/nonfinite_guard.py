"""Stops a run whose loss is no number any more."""

from __future__ import annotations

import math

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from integrand.errors import NonFiniteLossError


class NonFiniteGuard(Callback):
    """Raises before the backward pass if the loss is NaN or infinite, so that the weights stay as they were.

    On a CPU every step is checked. On a GPU a look at the value makes the host wait, so the losses are
    summed on the device (a sum with NaN or infinity in it stays so) and looked at only at the logging
    interval and at the end of each epoch.
    """

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._since = 0
        self._interval = 1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew, at the trainer's logging interval."""
        self._sum = None
        self._interval = max(int(getattr(trainer, "log_every_n_steps", 1)), 1)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Check, or sum up.

        Raises:
            NonFiniteLossError: The loss is not finite.
        """
        if loss.device.type == "cpu":
            value = loss.item()
            if not math.isfinite(value):
                raise _error(trainer, value, trainer.global_step)
            return
        if self._sum is None:
            self._since = trainer.global_step
            self._sum = loss.detach().float()
        else:
            self._sum = self._sum + loss.detach()
        if (trainer.global_step + 1) % self._interval == 0:
            self._look(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at what has been summed since the last interval.

        Raises:
            NonFiniteLossError: One of the losses was not finite.
        """
        self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        if self._sum is None:
            return
        total, self._sum = self._sum.item(), None
        if not math.isfinite(total):
            raise _error(trainer, total, self._since)


def _error(trainer: Trainer, value: float, since: int) -> NonFiniteLossError:
    now = trainer.global_step
    when = f"step {now}" if since == now else f"steps {since} to {now}"
    return NonFiniteLossError(
        f"the loss became {value} in epoch {trainer.current_epoch}, {when}",
        "lower model.optimizer.lr, clip gradients (--trainer.gradient_clip_val 1.0), or tighten the solver's "
        "tolerances; the last checkpoint is kept",
    )
