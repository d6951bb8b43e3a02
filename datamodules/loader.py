"""The loader of every data set that lies whole in memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader


class EpochLoader(DataLoader[Any]):
    """A loader whose dataset knows the epoch, and that a checkpoint can resume in the middle of one.

    The epoch is read from whatever sampler is in place: ours, or the distributed one that Lightning prefers.
    """

    _epoch = 0
    _served = 0
    _resume: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator serves Lightning as well
        # Runs at the first `next`, not at `iter`: Lightning sets the sampler's epoch between the two.
        self._epoch = int(getattr(self.sampler, "epoch", 0))
        if hasattr(self.dataset, "epoch"):
            self.dataset.epoch = self._epoch
        done = self._resume[1] if self._resume is not None and self._resume[0] == self._epoch else 0
        self._resume = None
        self._served = done
        for batch in islice(super().__iter__(), done, None):
            self._served += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The epoch and the number of batches served in it."""
        return {"epoch": self._epoch, "served": self._served}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Skip what was served, if the next pass is of the same epoch."""
        self._resume = state["epoch"], state["served"]
