"""Recordings as padded tensors, and the batches cut from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from integrand.series import Query, Series

from .recording import Recording


def padded(recordings: Sequence[Recording]) -> Series:
    """Recordings side by side, in float32 with times in float64; see `Series` for what pads them."""
    lengths = torch.tensor([len(r) for r in recordings], dtype=torch.int64)
    n = max(1, int(lengths.max())) if len(recordings) else 1
    times = np.stack([np.pad(r.times, (0, n - len(r)), mode="edge") for r in recordings])
    values = np.stack(
        [np.pad(r.values, ((0, n - len(r)), (0, 0)), constant_values=np.nan) for r in recordings]
    )
    seen = ~np.isnan(values)
    return Series(
        torch.from_numpy(times),
        torch.from_numpy(np.where(seen, values, 0.0).astype(np.float32)),
        torch.from_numpy(seen),
        lengths,
        torch.from_numpy(np.stack([r.static for r in recordings]).astype(np.float32)),
    )


def trimmed(x: Series) -> Series:
    """A batch without the padding that all of its series share."""
    n = int(x.lengths.max())
    return Series(x.times[:, :n], x.values[:, :n], x.mask[:, :n], x.lengths, x.static)


class SeriesSet(Dataset[Any]):
    """The series of one split with what is asked of each.

    A batch is `(x, y)` with the answers y where there are any, `(x, query)` of a forecast, else `(x,)`.

    Args:
        x: All series.
        answers: Classes (n,) or targets (n, targets).
        query: What a forecast is asked for, of every series.
        asked: Number of times that each series is asked for; all of the query where omitted.
    """

    def __init__(
        self,
        x: Series,
        answers: Tensor | None = None,
        query: Query | None = None,
        asked: Tensor | None = None,
    ) -> None:
        self.x, self.answers, self.query, self.asked = x, answers, query, asked

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        """A batch of one."""
        return self.__getitems__([index])

    def __getitems__(self, rows: Sequence[int]) -> Any:
        """A batch."""
        at = torch.as_tensor(rows)
        x = trimmed(self.x[at])
        if self.answers is not None:
            return x, self.answers[at]
        if self.query is None:
            return (x,)
        q = self.query
        rates = None if q.rates is None else q.rates[at]
        n = int(self.asked[at].max()) if self.asked is not None else q.times.shape[1]
        return x, Query(q.times[at, :n], q.values[at, :n], q.mask[at, :n], rates)
