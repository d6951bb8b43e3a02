"""Means over processes that hold different numbers of samples."""

from __future__ import annotations

import torch
from lightning.pytorch import Trainer


def weigh_exactly(trainer: Trainer) -> None:
    """Keep Lightning from rounding the number of samples that a logged mean is divided by.

    With `sync_dist` it averages that number, an integer, over the processes: of 251 and 250 it makes 250, and
    a mean comes out too large by a part in 501. A number that is no integer is averaged as it should be.

    Args:
        trainer: The trainer, after something was logged.
    """
    results = trainer._results
    for metric in results.values() if results is not None else ():
        size = getattr(metric, "cumulated_batch_size", None)
        if isinstance(size, torch.Tensor) and not size.is_floating_point():
            metric.cumulated_batch_size = size.float()
            # what a reset puts back
            metric._defaults["cumulated_batch_size"] = metric._defaults["cumulated_batch_size"].float()
