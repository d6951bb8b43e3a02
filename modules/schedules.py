"""Learning-rate schedules as Lightning takes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, OneCycleLR
from torch.optim.lr_scheduler import ReduceLROnPlateau as PlateauScheduler

Interval = Literal["epoch", "step"]
"""When a learning-rate schedule takes a step."""


def with_schedule(optimizer: Optimizer, make: LRSchedulerCallable | None, interval: Interval | None) -> Any:
    """What `configure_optimizers` returns for an optimiser and its schedule.

    Args:
        optimizer: The optimiser.
        make: Makes the schedule from it, if there is one.
        interval: When it takes a step; by default what it is made for.
    """
    if make is None:
        return optimizer
    scheduler = make(optimizer)
    made_for: Interval = "step" if isinstance(scheduler, OneCycleLR | CyclicLR) else "epoch"
    entry: dict[str, Any] = {"scheduler": scheduler, "interval": interval or made_for}
    if isinstance(scheduler, PlateauScheduler):
        # Lightning's names what it watches; torch's own lowers the rate where the loss stays, by default
        entry["monitor"] = getattr(scheduler, "monitor", "val/loss")
    return {"optimizer": optimizer, "lr_scheduler": entry}


def with_schedules(
    optimizers: Iterable[Optimizer], make: LRSchedulerCallable | None, interval: Interval | None
) -> Any:
    """The same for several optimisers, each with a schedule of its own."""
    found = [with_schedule(one, make, interval) for one in optimizers]
    return found if make is None else tuple(found)


def step_schedules(module: LightningModule, interval: Interval) -> None:
    """Step every schedule that does so each `interval`, where a module steps its optimisers itself."""
    for config in module.trainer.lr_scheduler_configs:
        if config.interval != interval:
            continue
        scheduler: Any = config.scheduler
        if isinstance(scheduler, PlateauScheduler):
            # Lightning drops what it watches where optimisation is by hand
            watched = getattr(scheduler, "monitor", "val/loss")
            scheduler.step(module.trainer.callback_metrics[watched])
        else:
            scheduler.step()
