"""Solves that cannot work in several processes, refused before they hang or lose gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .errors import SolverOptionError


def collectives() -> int:
    """How many collective operations this process has begun; 0 where it is the only one."""
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized() or distributed.get_world_size() < 2:
        return 0
    groups: list[Any] = list(distributed.distributed_c10d._world.pg_map)
    return sum(group._get_sequence_number_for_group() for group in groups)


def refuse_collectives(before: int, solver: str, fixed: str = "take fixed steps (num_steps), or ") -> None:
    """Refuse a field that talks to other processes, where each takes as many evaluations as its data need.

    Args:
        before: What `collectives` said before an evaluation.
        solver: The solver, in a few words.
        fixed: How to make equally many evaluations everywhere, if that can be had.

    Raises:
        SolverOptionError: The evaluation began a collective operation: with another number of steps on
            another process both would wait for each other for ever.
    """
    if collectives() == before:
        return
    raise SolverOptionError(
        f"{solver}: an evaluation of the field talks to the other processes (as SyncBatchNorm, sharded"
        " parameters or all_reduce do), but each process makes as many evaluations as its own data need, and"
        " would wait for ever",
        f"{fixed}keep the field to itself: group norm instead of SyncBatchNorm",
    )


def refuse_replicas(field: nn.Module) -> None:
    """Refuse a field of nn.DataParallel, whose replicas own no parameters: an adjoint would find none.

    Raises:
        SolverOptionError: The field is one, or was made by one (torchdiffeq issue 119).
    """
    if getattr(field, "_is_replica", False) or isinstance(field, nn.DataParallel):
        raise SolverOptionError(
            "the field belongs to nn.DataParallel, whose replicas own no parameters and get no gradients",
            "use one process per device: --trainer.strategy ddp --trainer.devices N",
        )
