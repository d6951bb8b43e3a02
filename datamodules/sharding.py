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
    times the batch size: training does not depend on how many share it. Each row is taken exactly once, but
    for one case: where the last step of training has no row left for a process, it takes the first row again
    with weight 0, because all have to make as many steps. A subclass of DistributedSampler, which Lightning
    leaves in place.

    Args:
        order: Sampler of the whole set, the same on all processes.
        count: Number W of processes.
        rank: This process r, 0 ≤ r < W.
        batch_size: Rows of a step of training on one process; None in evaluation.
        drop_last: Whether a last step of training that is not whole is left out.
    """

    def __init__(
        self, order: Sampler[int], count: int, rank: int, batch_size: int | None, drop_last: bool = False
    ) -> None:
        size = len(cast(Sized, order))
        # the base class only wants a length; it is asked for nothing else
        super().__init__(range(size), count, rank, shuffle=False)  # type: ignore[arg-type]
        self.order = order
        self.batch_size = batch_size
        if batch_size is not None and drop_last:
            size -= size % (count * batch_size)
        self.size = size

    def __len__(self) -> int:
        return len(self._own(range(self.size)))

    def __iter__(self) -> Iterator[int]:
        set_epoch = getattr(self.order, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(self.epoch)
        return iter(self._own(list(self.order)[: self.size]))

    def weight(self, batch: int) -> float:
        """What a step's mean over this process's rows has to be multiplied by, n_r W / Σ n_r.

        The mean over the processes is then that over the rows: in the last step some have more than others.

        Args:
            batch: Number of the step in the epoch.
        """
        assert self.batch_size is not None
        left = max(0, self.size - batch * self.batch_size * self.num_replicas)
        here = min(self.batch_size, len(range(self.rank, left, self.num_replicas)))
        return here * self.num_replicas / min(left, self.batch_size * self.num_replicas)

    def _own(self, rows: Any) -> Any:
        own = rows[self.rank :: self.num_replicas]
        if self.batch_size is not None and self._is_idle_at_the_end():
            own = [*own, rows[0]]
        return own

    def _is_idle_at_the_end(self) -> bool:
        fewest, more = divmod(self.size, self.num_replicas)
        return self.rank >= more > 0 == fewest % cast(int, self.batch_size)


def sharded(
    order: Sampler[int], module: L.LightningDataModule, batch_size: int | None, drop_last: bool = False
) -> Sampler[int]:
    """This process's share of `order`, or `order` itself where there is one process.

    Args:
        order: Sampler of the whole set.
        module: The data module, whose trainer knows the processes.
        batch_size: See `Shard`; None in evaluation.
        drop_last: See `Shard`.
    """
    count, rank = processes(module)
    return order if count == 1 else Shard(order, count, rank, batch_size, drop_last)


def weight_of_step(trainer: L.Trainer) -> float:
    """What the loss of the batch in training has to be multiplied by; see `Shard.weight`."""
    sampler = getattr(trainer.train_dataloader, "sampler", None)
    if not isinstance(sampler, Shard):
        return 1.0
    return sampler.weight(trainer.fit_loop.epoch_loop.batch_idx)


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
