"""Which rows of a data set each process works on."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any, cast

import lightning.pytorch as L
from torch.utils.data import DistributedSampler, Sampler

from integrand.errors import UsageError


class Shard(DistributedSampler[Any]):
    """Every W-th row of an order that all processes agree on, from row r on, for process r of W.

    The rows that the processes take together in one step are then those that a single process takes with W
    times the batch size: training does not depend on how many share it. In training, up to W − 1 rows of the
    beginning are taken again at the end of an epoch, so that every process makes as many steps; in evaluation
    each row is taken exactly once. A subclass of DistributedSampler, which Lightning leaves in place.

    Args:
        order: Sampler of the whole set, the same on all processes.
        count: Number W of processes.
        rank: This process r, 0 ≤ r < W.
        repeat: Whether rows may be repeated to make the shares equal.
    """

    def __init__(self, order: Sampler[int], count: int, rank: int, repeat: bool) -> None:
        size = len(cast(Sized, order))
        # the base class only wants a length; it is asked for nothing else
        super().__init__(range(size), count, rank, shuffle=False)  # type: ignore[arg-type]
        self.order = order
        self.repeat = repeat
        self.size = size

    def __len__(self) -> int:
        return -(-self.size // self.num_replicas) if self.repeat else len(self._own(range(self.size)))

    def __iter__(self) -> Iterator[int]:
        set_epoch = getattr(self.order, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(self.epoch)
        rows = list(self.order)
        if self.repeat:
            rows += rows[: -len(rows) % self.num_replicas]
        return iter(self._own(rows))

    def _own(self, rows: Any) -> Any:
        return rows[self.rank :: self.num_replicas]


def sharded(order: Sampler[int], module: L.LightningDataModule, repeat: bool) -> Sampler[int]:
    """This process's share of `order`, or `order` itself where there is one process.

    Args:
        order: Sampler of the whole set.
        module: The data module, whose trainer knows the processes.
        repeat: See `Shard`; true in training.
    """
    count, rank = processes(module)
    return order if count == 1 else Shard(order, count, rank, repeat)


def processes(module: L.LightningDataModule) -> tuple[int, int]:
    """Number of processes that share the data, and this one's rank; (1, 0) without a trainer.

    Processes that share one model's work on the same batch (tensor parallelism) count as one.
    """
    found = module.trainer.distributed_sampler_kwargs if module.trainer is not None else None
    return (int(found["num_replicas"]), int(found["rank"])) if found else (1, 0)


def even_batch_size(size: int, batch_size: int, module: L.LightningDataModule) -> int:
    """The smallest batch size from `batch_size` on with which all processes get as many evaluation batches.

    Their shares differ by one row at most; processes that talk to each other in every batch, as
    DistributedDataParallel does for buffers, would otherwise wait for ever for the one that has no more.

    Args:
        size: Rows of the whole set.
        batch_size: What was asked for, per process.
        module: The data module.

    Raises:
        UsageError: There are fewer rows than processes.
    """
    count, _ = processes(module)
    fewest, most = size // count, -(-size // count)
    if fewest == 0:
        raise UsageError(
            f"{size} samples to evaluate cannot be shared by {count} processes",
            "evaluate on fewer: --trainer.devices 1",
        )
    sizes = range(batch_size, most + batch_size + 1)
    return next(b for b in sizes if _batches(fewest, b) == _batches(most, b))


def _batches(rows: int, batch_size: int) -> int:
    return -(-rows // batch_size)
