"""Evaluating a module in the middle of its training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule


@contextmanager
def evaluating(pl_module: LightningModule) -> Iterator[None]:
    """Evaluation mode, gradients as the family needs them, own random state; leaves no trace in the module.

    The modes of all its parts and the account of its solves are put back.
    """
    modes = [(module, module.training) for module in pl_module.modules()]
    # a copy: solves append to the list itself
    stats: Any = list(getattr(pl_module, "solve_stats", ()))
    devices = [pl_module.device] if pl_module.device.type == "cuda" else []
    # an energy differentiates in its forward pass
    grad = bool(getattr(pl_module, "needs_grad_at_eval", False))
    try:
        pl_module.eval()
        with torch.random.fork_rng(devices), torch.set_grad_enabled(grad):
            yield
    finally:
        for module, training in modes:
            module.training = training
        if hasattr(pl_module, "solve_stats"):
            pl_module.solve_stats = stats
