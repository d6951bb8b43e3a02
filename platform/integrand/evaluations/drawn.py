"""What a network says about a split, as draws from its predictive distribution."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from integrand.modules.family import FamilyModule

from ..errors import UsageError
from ..series import Query, Series
from .passes import batches

USUAL_PASSES = 20
"""Draws of a network whose answers are random, where nobody asks for another number."""


@dataclass
class Said:
    """What was said about some inputs.

    Args:
        draws: Outputs, shape (draws, n, outputs), such as logits; of forecasts every time by itself.
        truth: What is true, shape (n,) of classes, else (n, outputs), NaN where unknown.
        nfe: Evaluations that one prediction cost, all draws together.
        seconds: What all of it took.
    """

    draws: Tensor
    truth: Tensor
    nfe: float
    seconds: float

    @property
    def cost(self) -> dict[str, float]:
        """As findings record it."""
        return {"sample_nfe": self.nfe, "evaluation_seconds": self.seconds}


def said(model: FamilyModule, data: Any, split: str, passes: int, seed: int) -> Said:
    """What the network says about a split; the same for the same seed.

    Args:
        model: A trained family in evaluation mode, on its device.
        data: Its data module.
        split: `val` or `test`.
        passes: Draws; see `number_of_draws`.
        seed: Of the draws.

    Raises:
        UsageError: The split is empty, or a batch holds no truth.
    """
    return said_of(model, batches(model, data, split), passes, seed, f"{split} split")


def said_of(model: FamilyModule, given: Iterable[Any], passes: int, seed: int, what: str) -> Said:
    """What the network says about some batches; see `said`.

    Args:
        model: A trained family in evaluation mode, on its device.
        given: Pairs of inputs and what is asked or true.
        passes: Draws.
        seed: Of the draws.
        what: What they are, for messages.
    """
    began = time.perf_counter()
    parts, truths, evaluations, count = [], [], 0.0, 0
    with seeded(seed):
        for x, asked in given:
            forecast = isinstance(asked, Query)
            draws, nfe = drawn(model, x, passes, asked.times if forecast else None)
            parts.append(draws.flatten(1, -2) if forecast else draws)
            truths.append(asked.truth.flatten(0, -2) if forecast else asked)
            evaluations += nfe * len(x)
            count += len(x)
    if not count:
        raise UsageError(f"the {what} is empty", "keep some data for it, such as --data.val_size 0.1")
    seconds = time.perf_counter() - began
    return Said(torch.cat(parts, 1), torch.cat(truths), evaluations / count, seconds)


def drawn(
    model: FamilyModule, x: Tensor | Series, passes: int, times: Tensor | None = None
) -> tuple[Tensor, float]:
    """Draws for one batch, and the evaluations that each sample cost.

    Args:
        model: A trained family in evaluation mode, on its device.
        x: Inputs, shape (batch, …), or a batch of series.
        passes: Draws.
        times: Times to forecast, shape (batch, n), float64.

    Returns:
        Outputs, shape (draws, batch, …), without a graph.
    """
    with torch.set_grad_enabled(model.needs_grad_at_eval):
        draws, solves = model.draws(x, passes, times)
    return draws.detach(), float(sum(stats.nfe_forward for stats in solves))


def number_of_draws(model: FamilyModule, wanted: int | None, least: int = 1) -> int:
    """How many draws there will be: as many as the network has where that is fixed, else those wanted.

    Args:
        model: A trained family.
        wanted: What the user asked for; None for the usual number.
        least: What an estimate needs where draws differ.

    Raises:
        UsageError: Fewer are wanted than the estimate needs.
    """
    if model.components is not None:
        return model.components
    if wanted is not None and wanted < least:
        raise UsageError(f"{wanted} passes are too few: the estimate needs {least}", "ask for more")
    return USUAL_PASSES if wanted is None else wanted


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's random numbers from a seed of their own, and afterwards as they were."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
