"""The exponential moving average of a network's weights, which evaluation uses."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim.swa_utils import AveragedModel

from integrand.errors import UsageError


def averaged(net: nn.Module, decay: float) -> AveragedModel:
    """A copy of `net` that follows it: θ̄ ← d θ̄ + (1 − d) θ with d = min(decay, (1 + n)/(10 + n)) at update n.

    The smaller decay of the first updates lets the average forget where training began.

    Args:
        net: The network that is trained.
        decay: The decay, 0 < decay < 1.

    Raises:
        UsageError: The decay is out of range.
    """
    if not 0 < decay < 1:
        raise UsageError(f"ema must lie between 0 and 1, got {decay}", "set model.ema to 0.999, or to null")
    follow: Any = partial(_follow, decay)  # torch's annotation allows for other averages than this one
    average = AveragedModel(net, multi_avg_fn=follow)
    average.requires_grad_(False)
    return average


@torch.no_grad()
def _follow(decay: float, averages: list[Tensor], weights: list[Tensor], number: Tensor | int) -> None:
    n = int(number)
    # of split weights each process averages its own share
    own, new = ([t.to_local() if isinstance(t, DTensor) else t for t in ts] for ts in (averages, weights))
    torch._foreach_lerp_(own, new, 1 - min(decay, (1 + n) / (10 + n)))
