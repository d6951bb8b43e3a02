"""Data and samples over all processes: gathered rows, and a set of which every process makes a part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from integrand.errors import IntegrandError

from .samples import Samples


def interleaved(x: Tensor) -> Tensor:
    """The rows of all processes in the order of the data set, of which process r of W has rows r, r + W, ….

    Every process must call it. Their numbers of rows may differ.

    Args:
        x: This process's rows, shape (n, …).

    Returns:
        Shape (sum of n, …), the same on every process.
    """
    parts = _of_all(x)
    # row p of process r is row p W + r of the set
    places = torch.cat([torch.arange(len(part)) * len(parts) + r for r, part in enumerate(parts)])
    return torch.cat(parts)[places.argsort().to(x.device)]


def made_together(n: int, make: Callable[[int, int], Samples]) -> Samples:
    """N samples of which every process makes a consecutive part; the same set as one process makes.

    Every process must call it. What goes wrong on one process is raised on all.

    Args:
        n: How many.
        make: Makes samples from a first index on: `make(start, number)`.

    Raises:
        IntegrandError: A process could not make its part.
    """
    count, rank = dist.get_world_size(), dist.get_rank()
    share = -(-n // count)
    start = min(rank * share, n)
    made, error = None, None
    try:
        made = make(start, min(share, n - start))
    except IntegrandError as raised:
        error = raised
    outcomes: list[Any] = [None] * count
    dist.all_gather_object(outcomes, (error, made.stats if made is not None else []))
    for failure, _ in outcomes:
        if failure is not None:
            raise failure
    assert made is not None
    made.x = torch.cat(_of_all(made.x))
    made.stats = [stats for _, found in outcomes for stats in found]
    return made


def _of_all(x: Tensor) -> list[Tensor]:
    """The rows of each process by rank; all must agree in everything but their number."""
    sizes = [torch.empty((), dtype=torch.long, device=x.device) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, torch.tensor(len(x), device=x.device))
    lengths = [int(size) for size in sizes]
    padded = x.new_zeros(max(lengths), *x.shape[1:])
    padded[: len(x)] = x
    parts = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(parts, padded)
    return [part[:length] for part, length in zip(parts, lengths, strict=True)]
