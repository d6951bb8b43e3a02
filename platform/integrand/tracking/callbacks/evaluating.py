"""Evaluating a module in the middle of its training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch import LightningModule

from .described import family_of


@contextmanager
def evaluating(pl_module: LightningModule) -> Iterator[None]:
    """Evaluation mode, gradients as the family needs them, own random state; leaves no trace in the module.

    The modes of all its parts are put back.
    """
    modes = [(module, module.training) for module in pl_module.modules()]
    devices = [pl_module.device] if pl_module.device.type == "cuda" else []
    # an energy differentiates in its forward pass
    family = family_of(pl_module)
    grad = family is not None and family.needs_grad_at_eval
    try:
        pl_module.eval()
        with torch.random.fork_rng(devices), torch.set_grad_enabled(grad):
            yield
    finally:
        for module, training in modes:
            module.training = training
